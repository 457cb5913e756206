"""`nas-jax prune`: score every operation without training, drop the poor ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nas_jax.cli import stage_command

HELP = "Score every operation without training and drop the poor ones (prune.json)."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main(_stage, argv, HELP)


def _stage(run: Any, interrupt: Any, call: Any) -> None:
    from nas_jax.cli import stages

    mask = stages.prune(run, interrupt)
    space = run.space
    print(f"kept {mask.num_kept} of {space.num_operations} operations")
    print(f"architectures: {space.size()} before, {space.size(mask)} after")


if __name__ == "__main__":
    sys.exit(main())
