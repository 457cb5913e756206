"""`nas-jax run`: prune, search, retrain and report, in one workdir."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nas_jax.cli import stage_command

HELP = "Prune, search, retrain and report in one workdir; a finished stage is kept."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main("run", _check, _stage, argv, HELP)


def _check(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    stages.refuse_others(run, prunes=True)


def _stage(run: Any, call: Any) -> None:
    from nas_jax.cli import stages
    from nas_jax.report import summary_text, write_report

    interrupt, workdir = call.interrupt, run.workdir
    mask = stages.prune(run, interrupt)
    genotype = stages.search(run, mask, interrupt)
    interrupt.doing = "while it measured the memory of the unpruned search"
    memory = stages.memory(run, mask)
    if not workdir.has("summary.json"):
        result = stages.retrain(run, genotype, interrupt)
        stages.summarise(run, mask, genotype, memory, result)
    interrupt.doing = "while it wrote the report"
    path = write_report(workdir.root)
    print(summary_text(workdir.root))
    print(f"report: {path}")


if __name__ == "__main__":
    sys.exit(main())
