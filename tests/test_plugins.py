"""A user's own spaces and sources, from a file beside the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas_jax.errors import ConfigError
from nas_jax.plugins import VARIABLE, load_plugins

PLUGIN = """
import numpy as np
import nas_jax as nj


def mask():
    kept = ("skip_connect", "max_pool_3x3")
    space = nj.darts_space(2)
    edges = (kept,) * len(space.cells[0].edges)
    return nj.SpaceMask(space, (edges, edges))


def stripes(seed, image_size=8):
    images = np.random.default_rng(seed).integers(0, 255, (64, 16, 16, 1), np.uint8)
    labels = np.arange(64) % 4
    return nj.Dataset.from_arrays(images, labels, images[:8], labels[:8])


nj.register_space("mine", mask, title="pools only")
nj.register_source("stripes", stripes, title="made here")
print("loaded")
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The variable as it was; what a test loads in this process stays loaded."""
    monkeypatch.setenv(VARIABLE, "")
    yield


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "my_things.py"
    file.write_text(PLUGIN)
    return file


BOTH = """
import sys
from nas_jax.cli.main import main

assert main(["run", "--plugin=my_things.py", "--help"]) == 0
sys.exit(main(sys.argv[1:]))
"""


def test_a_command_its_help_and_its_child_process_know_a_plugin(plugin: Path) -> None:
    (plugin.parent / "flags").write_text("--plugin\nmy_things.py\n")
    (plugin.parent / "config.py").write_text(
        "from nas_jax.config import ExperimentConfig\nget_config = ExperimentConfig\n"
    )
    flags = "--flagfile=flags --config=config.py --config.space.name=mine --kept=1 "
    flags += "--config.data.source=stripes --config.search.channels=2 --target=cpu "
    flags += "--config.search.layers=2 --config.search.batch_size=8 --json=out.json"
    result = subprocess.run(
        [sys.executable, "-c", BOTH, "memory", *flags.split()],
        cwd=plugin.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert result.returncode == 0, result.stderr
    assert "mine: pools only." in result.stdout
    assert "stripes: made here." in result.stdout
    # What is loaded stays as it is.
    assert result.stdout.count("loaded") == 1
    assert json.loads((plugin.parent / "out.json").read_text())


def test_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package_of_spaces.py").write_text("loaded = True")
    load_plugins(["my_package_of_spaces"])
    assert sys.modules["my_package_of_spaces"].loaded
    assert os.environ[VARIABLE] == "my_package_of_spaces"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nraise RuntimeError('boom')", "line 2 raised RuntimeError: boom"),
        ("x = (", "line 1 raised SyntaxError"),
        ("import sys\nsys.exit(1)", "line 2 raised SystemExit: 1"),
        (
            "from nas_jax import *\nimport nas_jax as nj\n"
            "nj.register_source('npz', print, title='x')",
            "line 3 raised DataError: ",
        ),
        (
            "import nas_jax as nj\n"
            "nj.register_source('odd', lambda colour: 0, title='x')",
            "line 2 raised DataError: source 'odd' cannot take colour; a config has",
        ),
    ],
)
def test_an_error_in_a_plugin_names_the_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text)
    for _ in range(2):  # What failed is not taken for loaded.
        with pytest.raises(ConfigError) as caught:
            load_plugins([str(file)])
        assert f"plugin {file}, {expected}" in str(caught.value)


@pytest.mark.parametrize("name", ["none.py", "none_such", "none.such", "a/b", ""])
def test_a_plugin_that_is_not_there(name: str) -> None:
    with pytest.raises(ConfigError, match="plugin .*give the path of a Python file"):
        load_plugins([name])
