"""`nas-jax search`: one-shot search on the operations that are left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nas_jax.cli import stage_command

HELP = (
    "One-shot search on what prune.json keeps (genotype.json); without prune.json, "
    "on the whole space or on --config.space.mask."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main(_stage, argv, HELP)


def _stage(run: Any, interrupt: Any, call: Any) -> None:
    from nas_jax.cli import stages

    done = run.workdir.stage_done("prune")
    mask = stages.prune(run, interrupt) if done else run.start
    print(stages.search(run, mask, interrupt))


if __name__ == "__main__":
    sys.exit(main())
