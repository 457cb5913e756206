"""How clear pruning's decisions were: margins to the cut, against the spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_jax.report.artefacts import Operation


@dataclass(frozen=True)
class Decision:
    """An operation and how far its score lies from the other side of its edge.

    `margin` is that of prune.json with the sign of the fate: positive for an operation
    that was kept, negative for one that was dropped; None where there is no other side.
    `close` is true if the margin is smaller than the score's spread over repeats.
    """

    row: Operation
    margin: float | None
    close: bool


def decide(rows: Sequence[Operation]) -> list[Decision]:
    """The decisions behind prune.json's rows, in their order."""
    return [_decision(row) for row in rows]


def _decision(row: Operation) -> Decision:
    if row.margin is None:
        return Decision(row, None, False)
    margin = row.margin if row.kept else -row.margin
    return Decision(row, margin, row.margin < (row.score_std or 0.0))
