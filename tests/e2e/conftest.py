"""Runs that several tests look at, and the ways to start one."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO_ROOT = Path(__file__).resolve().parents[2]


class Cli:
    """Starts nas-jax: in a process of its own, or in this one."""

    def start(self, *arguments: str, script: str = "") -> tuple[int, str, str]:
        """`python -m nas_jax.cli.main ...`, or a script; code, stdout, stderr."""
        if script:
            command = ["-c", script, *arguments]
        else:
            command = ["-m", "nas_jax.cli.main", *arguments]
        result = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
            cwd=REPO_ROOT,
        )
        return result.returncode, result.stdout, result.stderr

    def main(self, *arguments: str) -> int:
        """The same command in this process, which spares the start of JAX."""
        from nas_jax.cli.main import main

        return main(list(arguments))


@pytest.fixture(scope="session")
def cli() -> Cli:
    return Cli()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Fills a folder once for all xdist workers: they share its path and its cost."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def fill(name: str, build: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                assert not folder.exists(), f"{name} failed in another test"
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return fill


@pytest.fixture(scope="session")
def tiny() -> str:
    """The flag that names the tiny config."""
    return f"--config={REPO_ROOT / 'tests' / 'cli' / 'tiny.py'}"


@pytest.fixture(scope="session")
def reference(cli: Cli, tiny: str, once: Callable[..., Path]) -> Path:
    """A whole run of the tiny config, which nothing interrupted; tests copy it."""

    def build(folder: Path) -> None:
        assert cli.main("run", tiny, f"--workdir={folder / 'run'}") == 0

    return once("reference", build) / "run"


@pytest.fixture(scope="session")
def pools(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag for a start without convolutions, which compiles fast."""
    ops = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect"]
    return write_mask(tmp_path_factory.mktemp("mask"), {"normal": [ops, ops]})


def write_mask(folder: Path, changed: dict[str, Any]) -> str:
    """Writes a mask of the one-node space; returns the flag that names it."""
    from nas_jax.spaces import SpaceMask, get_space

    mask = SpaceMask.full(get_space("darts", 1)).to_dict()
    mask["cells"] = dict.fromkeys(mask["cells"], changed["normal"]) | changed
    path = folder / "mask.json"
    path.write_text(json.dumps(mask))
    return f"--config.space.mask={path}"


class Results:
    """What must be equal, bit for bit, between two runs of one experiment."""

    def rows(self, workdir: Path, name: str) -> list[dict[str, Any]]:
        """The rows of a log, without what depends on the machine's speed."""
        rows = [json.loads(line) for line in (workdir / name).read_text().splitlines()]
        return [
            {key: value for key, value in row.items() if key != "steps_per_second"}
            for row in rows
        ]

    def search(self, workdir: Path) -> dict[str, Any]:
        prune = json.loads((workdir / "prune.json").read_text())
        genotype = json.loads((workdir / "genotype.json").read_text())
        return {
            "mask": prune["mask"],
            "operations": prune["operations"],
            "genotype": genotype["text"],
            "decision": genotype["decision"],
            "search": self.rows(workdir, "search.jsonl"),
        }

    def all(self, workdir: Path) -> dict[str, Any]:
        summary = json.loads((workdir / "summary.json").read_text())
        return {
            **self.search(workdir),
            "retrain": self.rows(workdir, "retrain.jsonl"),
            "test_accuracy": summary["test_accuracy"],
            "parameters": summary["parameters"],
        }


@pytest.fixture(scope="session")
def results() -> Results:
    return Results()
