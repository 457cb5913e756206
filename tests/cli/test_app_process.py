"""What a command sets up in its process: logging, and JAX's compilation cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_jax.cli import app

LOGGING = """
import logging
import sys
from absl import logging as absl_logging
from nas_jax import metrics
from nas_jax.cli import app

def main(call):
    print("jax loaded:", "jax" in sys.modules)
    metrics.Progress(1, "mine").update(1)
    absl_logging.info("chatter")
    logging.getLogger("library").info("chatter")
    absl_logging.warning("absl warns")
    logging.getLogger("library").warning("library warns")

sys.exit(app.run(main, name="x", help_text="", needs_config=False, needs_workdir=False))
"""


def test_process_logs_its_own_lines_and_the_warnings_of_others(repo_root: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOGGING],
        cwd=repo_root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "jax loaded: False\n"
    lines = [line.split("] ", 1) for line in result.stderr.splitlines()]
    assert [text for _, text in lines] == [
        "mine 1/1, " + lines[0][1].split(", ")[1],
        "absl warns",
        "library warns",
    ]
    assert lines[0][0].startswith("I")
    assert lines[1][0].startswith("W")


@pytest.fixture
def cache_setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """JAX's setting, put back after the test; the environment says nothing."""
    import jax

    for name in (app.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    config: Any = jax.config
    before = config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield config
    jax.config.update("jax_compilation_cache_dir", before)


def test_where_compiled_programs_are_kept(
    cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    def folder() -> Any:
        app.configure_jax()
        found = cache_setting.jax_compilation_cache_dir
        jax.config.update("jax_compilation_cache_dir", None)
        return found

    monkeypatch.setenv("HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
    assert folder() == str(tmp_path / "jax")
    assert not (tmp_path / ".cache").exists()
    assert folder() == str(tmp_path / ".cache" / "nas_jax" / "xla")
    assert (tmp_path / ".cache" / "nas_jax" / "xla").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == str(tmp_path / "nas_jax" / "xla")
    monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "mine"))
    assert folder() == str(tmp_path / "mine")
    monkeypatch.setenv(app.CACHE_VARIABLE, "")
    assert folder() is None


def test_cache_that_cannot_be_created_is_a_warning(
    cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "file" / "below"))
    app.configure_jax()
    assert cache_setting.jax_compilation_cache_dir is None
    assert "No compilation cache" in caplog.text and app.CACHE_VARIABLE in caplog.text
