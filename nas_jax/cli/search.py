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
    return stage_command.main("search", _check, _stage, argv, HELP)


def _check(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    stages.refuse_unfinished_pruning(run.workdir)
    stages.refuse_others(run, prunes=False)


def _stage(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    mask = stages.pruned_mask(run) or run.start
    print(stages.search(run, mask, call.interrupt))
    decision = run.workdir.read_json("genotype.json")["decision"]
    print(decision["warning"] or decision["text"])


if __name__ == "__main__":
    sys.exit(main())
