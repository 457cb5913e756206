"""Pruning that a signal ends in the middle, and that goes on to the same result."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from nas_jax.run.interrupt import STOPPED

# Sends a signal to its own process right after the first chunk of candidates was
# written: a real signal, at a place that does not depend on the machine's speed.
DRIVER = """
import os, sys
from nas_jax.cli.main import main
from nas_jax.run import journal

number, *arguments = sys.argv[1:]


class Writer(journal.JsonlWriter):
    def write(self, at, metrics):
        super().write(at, metrics)
        os.kill(os.getpid(), int(number))


journal.JsonlWriter = Writer
sys.exit(main(["prune", *arguments]))
"""


def chunks(workdir: Path) -> list[int]:
    lines = (workdir / "prune.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def pruned(workdir: Path) -> dict[str, Any]:
    stored = json.loads((workdir / "prune.json").read_text())
    return {key: stored[key] for key in ("mask", "operations", "candidates")}


def test_killed_pruning(cli, tiny, reference, tmp_path) -> None:
    workdir = tmp_path / "run"
    flags = (tiny, f"--workdir={workdir}")
    code, _, _ = cli.start(str(int(signal.SIGKILL)), *flags, script=DRIVER)
    assert code == -signal.SIGKILL
    # 29 candidates are two chunks.
    assert chunks(workdir) == [1]
    assert not (workdir / "prune.json").exists()
    first = (workdir / "prune.jsonl").read_text()
    assert cli.main("prune", *flags) == 0
    assert chunks(workdir) == [1, 2]
    assert (workdir / "prune.jsonl").read_text().startswith(first)
    assert pruned(workdir) == pruned(reference)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_pruning(cli, tiny, reference, tmp_path, number) -> None:
    workdir = tmp_path / "run"
    flags = (tiny, f"--workdir={workdir}")
    code, stdout, stderr = cli.start(str(int(number)), *flags, script=DRIVER)
    assert code == STOPPED
    assert f"stopped by {number.name} in prune" in stderr
    assert "goes on from there" in stderr
    assert "Traceback" not in stderr and "kept" not in stdout
    assert chunks(workdir) == [1]
    assert not (workdir / "prune.json").exists()
    # What is left is not known yet: nobody may search it, or the whole space instead.
    assert cli.main("search", *flags) == 2
    assert not (workdir / "genotype.json").exists()
    assert cli.main("prune", *flags) == 0
    assert pruned(workdir) == pruned(reference)


@pytest.mark.parametrize("damage", ["first", "second", "both ways", "swapped"])
def test_damaged_and_doubled_rows_change_no_score(
    cli, tiny, reference, tmp_path, damage
) -> None:
    workdir = tmp_path / "run"
    workdir.mkdir()
    first, second = (reference / "prune.jsonl").read_text().splitlines(keepends=True)
    broken = {
        "first": [first[: len(first) // 2] + "\n", second],
        "second": [first, "[]\n"],
        "both ways": [first, second, first, "x\n", second],
        "swapped": [second, first],
    }
    (workdir / "prune.jsonl").write_text("".join(broken[damage]))
    assert cli.main("prune", tiny, f"--workdir={workdir}") == 0
    assert pruned(workdir) == pruned(reference)
