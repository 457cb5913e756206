"""What pruning found, why, and what it cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nas_jax.pruning.candidates import Operation
from nas_jax.pruning.importance import Importance
from nas_jax.pruning.selection import Target
from nas_jax.spaces import SpaceMask

NEVER_SELECTED = "never selected at discretisation"
NOT_OFFERED = "not in the mask that pruning started from"
NOTHING_PRUNED = "nothing was pruned"
"""How the warning begins that pruning was asked for but removed nothing."""
TIES = 0.5
"""A ranker that gives more than this share of candidates one and the same change is
worth a warning."""


@dataclasses.dataclass(frozen=True)
class ScoredOperation:
    """Why an operation was kept or dropped.

    Attributes are those of `artefacts.Operation`, where `name` is `operation`. A score
    is infinite where a ranker's is not finite without the operation; a margin is how
    far the score is from the nearest one of the same edge and round with the other
    fate: of a kept operation from the best that was dropped, and the other way round.
    """

    cell: str
    edge: int
    source: int
    target: int
    operation: str
    kept: bool
    score: float | None = None
    score_std: float | None = None
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    scores_std: dict[str, float] = dataclasses.field(default_factory=dict)
    round: int = 0
    margin: float | None = None
    reason: str = ""
    offered: bool = True


@dataclasses.dataclass(frozen=True)
class PruneResult:
    """What pruning found and what it cost.

    Attributes:
        start: The operations that there were.
        mask: The operations that are kept.
        operations: One entry for each operation of the space, in canonical order.
        strategy: Name of the strategy.
        proxies: Names of the rankers' proxies.
        rounds: Rounds that were run.
        candidates: Networks that were scored, all rounds and repeats together.
        warnings: What to know before the result is trusted.
        step_bytes: Bytes of the search step, where pruning was to a budget.
        compile_seconds: Seconds to compile the scoring programs.
        score_seconds: Seconds to score all candidates, earlier sessions included.
        peak_memory_bytes: Memory of the largest scoring program; 0 where nothing was
            scored.
    """

    start: SpaceMask
    mask: SpaceMask
    operations: tuple[ScoredOperation, ...]
    strategy: str
    proxies: tuple[str, ...]
    rounds: int
    candidates: int
    warnings: tuple[str, ...]
    step_bytes: int | None
    compile_seconds: float
    score_seconds: float
    peak_memory_bytes: int

    @property
    def kept_fraction(self) -> float:
        """Operations that are kept over those that there were."""
        return self.mask.fraction_of(self.start)


@dataclasses.dataclass(frozen=True)
class ScoredRound:
    """A finished round: what might go, its importance, and what is left."""

    operations: Sequence[Operation]
    importance: Importance
    mask: SpaceMask


def explain(
    start: SpaceMask,
    end: SpaceMask,
    rounds: Sequence[ScoredRound],
    names: Sequence[str],
) -> tuple[ScoredOperation, ...]:
    """One row for each operation of the space; `names` are those of the rankers."""
    scored: dict[Operation, tuple[int, int]] = {}
    for number, finished in enumerate(rounds):
        for index, operation in enumerate(finished.operations):
            scored[operation] = (number, index)
    rows = []
    for cell, edge, op in start.space.operations():
        source, target = start.space.cell(cell).edges[edge]
        kept = end.keeps(cell, edge, op)
        row = ScoredOperation(cell, edge, source, target, op, kept)
        if (cell, edge, op) in scored:
            number, i = scored[cell, edge, op]
            found = rounds[number].importance
            row = dataclasses.replace(
                row,
                score=float(found.total[i]),
                score_std=float(found.spread[i]),
                scores=dict(zip(names, found.parts[i].tolist(), strict=True)),
                scores_std=dict(
                    zip(names, found.parts_spread[i].tolist(), strict=True)
                ),
                round=number + 1,
                margin=_margin(rounds[number], i),
            )
        elif not start.keeps(cell, edge, op):
            row = dataclasses.replace(row, reason=NOT_OFFERED, offered=False)
        else:
            why = "the edge keeps all that it has" if kept else NEVER_SELECTED
            row = dataclasses.replace(row, reason=why)
        rows.append(row)
    return tuple(rows)


def warnings_of_loss(start: SpaceMask, end: SpaceMask, target: Target) -> list[str]:
    """Which edges lost nothing although something was to go, and why."""
    if not target.removes:
        return []
    keep = target.keeps(start)
    whole = [edge for edge in keep if end.edge(*edge) == start.edge(*edge)]
    few = [edge for edge in whole if len(start.edge(*edge)) <= keep[edge]]
    most = max((len(start.edge(*edge)) for edge in few), default=0)
    because = {
        "with one operation each"
        if most == 1
        else f"with {most} operations or fewer each": few
    }
    if target.budget_bytes is None:
        rest = [edge for edge in whole if edge not in few]
        because[f"to leave each node {target.min_parametric} convolutions"] = rest
    found = [
        f"{len(edges)} of {len(keep)} edges lost nothing, {why}"
        for why, edges in because.items()
        if edges
    ]
    if end == start:
        if target.budget_bytes is not None:
            found = ["the search step fits the budget with all of them"]
        found = [
            f"{NOTHING_PRUNED}, all {start.num_kept} operations stay: "
            + " and ".join(found)
        ]
    return found


def warnings_of(finished: ScoredRound, names: Sequence[str], number: int) -> list[str]:
    """Where a ranker of a round, numbered from 1, cannot tell its candidates apart."""
    found = []
    for name, column in zip(names, finished.importance.parts.T, strict=True):
        where = f"round {number}: {name}"
        bad = ~np.isfinite(column)
        if bad.any():
            cell, edge, op = finished.operations[int(np.argmax(bad))]
            found.append(
                f"{where} is not finite without {int(bad.sum())} of {len(column)} "
                f"operations, such as {op} on edge {edge} of {cell}; they stay longest"
            )
        values, counts = np.unique(np.round(column[~bad], 12), return_counts=True)
        if len(values) == 1 and len(column) > 1:
            found.append(
                f"{where} cannot tell the candidates apart: each removal changes it by "
                f"{values[0]:g}"
            )
        elif counts.size and counts.max() > TIES * len(column):
            found.append(
                f"{where} gives {int(counts.max())} of {len(column)} candidates the "
                f"same change, {values[np.argmax(counts)]:g}"
            )
    return found


def _margin(finished: ScoredRound, index: int) -> float | None:
    cell, edge, op = finished.operations[index]
    kept = finished.mask.keeps(cell, edge, op)
    others = [
        abs(finished.importance.total[index] - finished.importance.total[i])
        for i, (c, e, o) in enumerate(finished.operations)
        if (c, e) == (cell, edge) and finished.mask.keeps(c, e, o) != kept
    ]
    finite = [float(value) for value in others if np.isfinite(value)]
    return min(finite, default=None)
