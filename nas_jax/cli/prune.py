"""`nas-jax prune`: score every operation without training, drop the poor ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nas_jax.cli import stage_command

HELP = "Score every operation without training and drop the poor ones (prune.json)."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main("prune", _check, _stage, argv, HELP)


def _check(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    stages.refuse_others(run, prunes=True)


def _stage(run: Any, call: Any) -> None:
    from nas_jax.cli import stages
    from nas_jax.pruning.result import NOTHING_PRUNED

    mask = stages.prune(run, call.interrupt)
    space, start = run.space, run.start
    print(f"kept {mask.num_kept} of {start.num_kept} operations")
    print(f"architectures: {space.size(start)} before, {space.size(mask)} after")
    for warning in run.workdir.read_json("prune.json")["warnings"]:
        if warning.startswith(NOTHING_PRUNED):
            print(f"warning: {warning}")


if __name__ == "__main__":
    sys.exit(main())
