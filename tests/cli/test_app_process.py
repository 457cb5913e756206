"""What a command sets up in its process: logging, and JAX's compilation cache."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import logging as absl_logging

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
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (app.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache_setting() -> Iterator[Any]:
    """JAX's setting, put back after the test."""
    import jax

    config: Any = jax.config
    before = config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield config
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.usefixtures("clean_environment")
class TestConfigureJax:
    def test_default_is_below_the_cache_of_the_user(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        app.configure_jax()
        expected = tmp_path / ".cache" / "nas_jax" / "xla"
        assert cache_setting.jax_compilation_cache_dir == str(expected)
        assert expected.is_dir()

    def test_xdg_cache_home(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        app.configure_jax()
        expected = str(tmp_path / "nas_jax" / "xla")
        assert cache_setting.jax_compilation_cache_dir == expected

    def test_own_variable_wins_and_empty_is_off(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "mine"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir == str(tmp_path / "mine")
        monkeypatch.setenv(app.CACHE_VARIABLE, "")
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir is None

    def test_setting_of_jax_stands(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import jax

        monkeypatch.setenv("HOME", str(tmp_path))
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir == str(tmp_path / "jax")
        assert not (tmp_path / ".cache").exists()

    def test_folder_that_cannot_be_created_is_a_warning(
        self, cache_setting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found: list[str] = []
        monkeypatch.setattr(
            absl_logging, "warning", lambda text, *args: found.append(text % args)
        )
        (tmp_path / "file").write_text("")
        monkeypatch.setenv(app.CACHE_VARIABLE, str(tmp_path / "file" / "below"))
        app.configure_jax()
        assert cache_setting.jax_compilation_cache_dir is None
        assert "No compilation cache" in found[0]
        assert app.CACHE_VARIABLE in found[0]
