"""The heat map of operation scores: a table for each cell, and the scale's legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_jax.artefacts import Operation
from nas_jax.report.formats import score as show
from nas_jax.report.style import STEPS, short_name
from nas_jax.spaces import CellSpec


@dataclass(frozen=True)
class Scale:
    """Maps scores to colour steps; scores beyond `low` or `high` take the end's step.

    A scale whose scores differ in sign is diverging: symmetric, its middle at zero.
    """

    low: float
    high: float

    @property
    def diverging(self) -> bool:
        """True if the scale has two sides."""
        return self.low < 0 < self.high

    def step(self, score: float) -> int:
        """The colour step of a score, from 0 to 2 * STEPS."""
        if self.high == self.low:
            return STEPS
        share = min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))
        if self.diverging:
            return round(2 * STEPS * share)
        # One sign only: the pale middle stands for the end that is nearer to zero.
        return round(STEPS * share) + (0 if self.high <= 0 else STEPS)


def robust_scale(scores: Sequence[float]) -> Scale:
    """The scale of the middle 96% of the scores, so outliers do not wash out the rest.

    `scores` must be finite; an empty list gives an empty scale.
    """
    if not scores:
        return Scale(0.0, 0.0)
    ordered = sorted(scores)
    cut = round(0.02 * (len(ordered) - 1))
    low, high = ordered[cut], ordered[-1 - cut]
    reach = max(-low, high)
    return Scale(-reach, reach) if low < 0 < high else Scale(low, high)


def scales_by_round(rows: Sequence[Operation]) -> dict[int, Scale]:
    """The scale of each round's scores, so that none is compared across rounds.

    A colour stands for the same sign in every round.
    """
    scores: dict[int, list[float]] = {}
    for row in rows:
        if row.score is not None:
            scores.setdefault(row.round, []).append(row.score)
    scales = {number: robust_scale(scores[number]) for number in sorted(scores)}
    lowest = min((scale.low for scale in scales.values()), default=0.0)
    highest = max((scale.high for scale in scales.values()), default=0.0)
    if lowest < 0 < highest:
        reaches = {n: max(-scale.low, scale.high) for n, scale in scales.items()}
        return {number: Scale(-reach, reach) for number, reach in reaches.items()}
    return scales


def short_score(score: float, reach: float) -> str:
    """A score in as few characters as fit a square, with the decimals of its map.

    `reach` is the largest figure of the scales; it has two digits that count.
    """
    decimals = 1 - math.floor(math.log10(reach)) if reach > 0 else 0
    text = f"{score:.{max(0, decimals)}f}"
    if decimals > 4 or len(text) > 6:
        head, _, power = f"{score:.0e}".partition("e")
        text = f"{head}e{int(power)}" if score else "0"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def describe(row: Operation, rounds: bool) -> str:
    """One operation's fate in a sentence fragment, with its round where it matters."""
    fate = "kept" if row.kept else "dropped"
    if not row.round:
        return f"{fate}, not scored" + (f": {row.reason}" if row.reason else "")
    when = f" in round {row.round}" if rounds else ""
    if row.score is None:
        return f"{fate}, the score{when} is not finite"
    spread = f" ± {show(row.score_std)}" if row.score_std else ""
    return f"{fate}, score{when} {show(row.score)}{spread}"


@dataclass(frozen=True)
class Square:
    """One operation: its text, its CSS classes, what they say, and its round."""

    text: str
    classes: str
    title: str
    kept: bool
    round: int


def _reach(scales: Iterable[Scale]) -> float:
    return max((max(-scale.low, scale.high) for scale in scales), default=0.0)


def heat_map(
    shape: CellSpec, offered: Sequence[Operation], scales: Mapping[int, Scale]
) -> dict[str, Any]:
    """The table of one cell: two-part column names, and rows of squares by edge.

    A square is None where pruning did not start with the operation.
    """
    reach, rounds = _reach(scales.values()), len(scales) > 1
    rows = [row for row in offered if row.cell == shape.name]
    squares = {}
    for row in rows:
        colour, text = "unscored", "–"
        if row.score is not None:
            colour = f"heat{scales[row.round].step(row.score)}"
            text = short_score(row.score, reach)
        squares[row.edge, row.name] = Square(
            text,
            f"{'kept' if row.kept else 'dropped'} {colour}",
            f"{row.source} → {row.target}, {row.name}: {describe(row, rounds)}",
            row.kept,
            row.round if rounds else 0,
        )
    return {
        "name": shape.name,
        "kept": sum(row.kept for row in rows),
        "total": len(rows),
        "columns": [short_name(name) for name in shape.ops],
        "rows": [
            (edge, [squares.get((index, name)) for name in shape.ops])
            for index, edge in enumerate(shape.edges)
        ],
    }


def legend(scales: Mapping[int, Scale], rows: Sequence[Operation]) -> dict[str, Any]:
    """The colour bar's ends, and which kinds of square occur.

    With several rounds the bar has words for values: each round has its own.
    """
    without = {"kept" if row.kept else "dropped" for row in rows if row.score is None}
    found: dict[str, Any] = {"rounds": len(scales) > 1, "unscored": without}
    if not scales:
        return found | {"bar": None}
    # A round whose scores are all 0 has no side.
    scale = max(scales.values(), key=lambda scale: _reach([scale]))
    first, last = f"≤ {show(scale.low, 2)}", f"≥ {show(scale.high, 2)}"
    steps: tuple[int, ...] = (STEPS, 2 * STEPS)
    if scale.diverging:
        steps = (0, STEPS, 2 * STEPS)
    elif scale.high <= 0 and scale.low < 0:
        steps = (0, STEPS)
    if found["rounds"]:
        first, last = "lowest of its round", "highest"
        if scale.diverging:
            first, last = "negative", "positive"
    return found | {"bar": steps, "first": first, "last": last}
