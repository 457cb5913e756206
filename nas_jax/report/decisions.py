"""How clear pruning's decisions were: margins to the cut, against the spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas_jax.report.artefacts import Operation


@dataclass(frozen=True)
class Decision:
    """An operation and how far its score lies from the other side of its edge.

    `margin` is the score minus the best dropped score of the edge (for a kept
    operation) or minus the worst kept score (for a dropped one), so it is positive for
    clear keeps and negative for clear drops; None where there is no other side.
    `close` is true if the margin is smaller than the score's spread over repeats.
    """

    row: Operation
    margin: float | None
    close: bool


def decide(rows: Sequence[Operation]) -> list[Decision]:
    """The decisions behind prune.json's rows, in their order."""
    edges: dict[tuple[str, int, bool], list[float]] = {}
    for row in rows:
        if row.score is not None:
            edges.setdefault((row.cell, row.edge, row.kept), []).append(row.score)
    decisions = []
    for row in rows:
        others = edges.get((row.cell, row.edge, not row.kept))
        margin = None
        if row.score is not None and others:
            margin = row.score - (max(others) if row.kept else min(others))
        spread = row.score_std or 0.0
        close = margin is not None and abs(margin) < spread
        decisions.append(Decision(row, margin, close))
    return decisions
