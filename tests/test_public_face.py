"""`import nas_jax as nj`: what it has, and what it does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nas_jax as nj

CHECK = """
import sys
import nas_jax as nj
assert {"prune", "search", "retrain", "get_mask", "register_space"} <= set(dir(nj))
heavy = {"jax", "flax", "optax", "numpy", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
nj.get_mask("s2")
assert "jax" not in sys.modules
"""


def test_importing_it_loads_nothing_heavy(repo_root: Path) -> None:
    command = [sys.executable, "-c", CHECK]
    result = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_name_is_there_and_type_checkers_see_the_same() -> None:
    (block,) = (
        node
        for node in ast.parse(Path(nj.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes = {name: f"nas_jax.{home}" for name, home in nj._HOMES.items()}
    assert seen == homes
    for name in homes:
        assert getattr(nj, name) is not None


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no public name 'serach'"):
        nj.serach  # noqa: B018
