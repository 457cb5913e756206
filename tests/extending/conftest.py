"""A process of its own for what a user adds: what is registered there ends with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Run = Callable[[Path, Sequence[Sequence[str]]], str]
"""Runs commands one after the other in a folder; returns what they print."""

COMMANDS = """
import json, sys
from nas_jax.cli.main import main
for command in json.loads(sys.argv[1]):
    print("nas-jax", *command, flush=True)
    assert main(command) == 0, command
"""


@pytest.fixture(scope="session")
def run(repo_root: Path) -> Run:
    def run(folder: Path, commands: Sequence[Sequence[str]]) -> str:
        result = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps(commands)],
            env={**os.environ, "PYTHONPATH": str(repo_root)},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture(scope="session")
def tiny(repo_root: Path) -> list[str]:
    """A config of two channels and two cells, with an epoch of search and retraining.

    Its `num_nodes` is the one that spaces with cells of their own leave alone.
    """
    return [
        f"--config={repo_root / 'tests' / 'cli' / 'tiny.py'}",
        "--config.space.num_nodes=4",
        "--config.prune.level=0.5",
        "--config.search.epochs=1",
        "--config.retrain.epochs=1",
    ]
