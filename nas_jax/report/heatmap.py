"""The heat map of operation scores: one picture a cell, and its legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas_jax.report.artefacts import Operation
from nas_jax.report.formats import score as show
from nas_jax.report.shapes import CellShape
from nas_jax.report.style import STEPS, short_name
from nas_jax.report.svg import picture, tag

_LEFT, _TOP = 50.0, 38.0
_WIDTH, _HEIGHT, _GAP = 44.0, 22.0, 3.0


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
        share = (score - self.low) / (self.high - self.low)
        share = min(1.0, max(0.0, share))
        if self.diverging:
            return round(2 * STEPS * share)
        # One sign only: the pale middle stands for the end that is nearer to zero.
        if self.high <= 0:
            return round(STEPS * share)
        return STEPS + round(STEPS * share)


def robust_scale(scores: list[float]) -> Scale:
    """The scale of the middle 96% of the scores, so outliers do not wash out the rest.

    `scores` must be finite; an empty list gives an empty scale.
    """
    if not scores:
        return Scale(0.0, 0.0)
    ordered = sorted(scores)
    cut = round(0.02 * (len(ordered) - 1))
    low, high = ordered[cut], ordered[-1 - cut]
    if low < 0 < high:
        reach = max(-low, high)
        return Scale(-reach, reach)
    return Scale(low, high)


def scales_by_round(rows: Sequence[Operation]) -> dict[int, Scale]:
    """The scale of each round's scores, so that none is compared across rounds.

    All are diverging if one is or if their signs differ, so that a colour stands for
    the same sign in every round.
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


def _square(
    row: Operation, x: float, y: float, scales: Mapping[int, Scale], hatch: str
) -> Markup:
    fill = f"url(#{hatch})"
    if row.score is not None:
        fill = f"var(--heat{scales[row.round].step(row.score)})"
    right, bottom = x + _WIDTH, y + _HEIGHT
    box = tag(
        "rect",
        x=x,
        y=y,
        width=_WIDTH,
        height=_HEIGHT,
        rx=2.5,
        style=f"fill:{fill}",
        class_="kept" if row.kept else "dropped",
    )
    strike = Markup("")
    if not row.kept:
        d = f"M{x + 5:g} {bottom - 4:g}L{right - 5:g} {y + 4:g}"
        strike = tag("path", class_="halo", d=d) + tag("path", class_="strike", d=d)
    rounds = len(scales) > 1
    number = Markup("")
    if rounds and row.round:
        number = tag("text", str(row.round), x=x + 4, y=y + 12, class_="round")
    title = f"{row.source} → {row.target}, {row.name}: {describe(row, rounds)}"
    return tag("g", tag("title", title), box, strike, number, class_="operation")


def _hatch(identifier: str) -> Markup:
    lines = tag("path", class_="hatch", d="M-1 1L1 -1M0 6L6 0M5 7L7 5")
    ground = tag("rect", width=6, height=6, class_="unscored")
    pattern = tag(
        "pattern",
        ground,
        lines,
        id=identifier,
        width=6,
        height=6,
        patternUnits="userSpaceOnUse",
    )
    return tag("defs", pattern)


def heat_map(
    shape: CellShape, rows: list[Operation], scales: Mapping[int, Scale], hatch: str
) -> Markup:
    """Rows are the cell's edges, columns its operations.

    Args:
        shape: The cell.
        rows: Its operations.
        scales: `scales_by_round` of all cells; squares of several rounds have the
            round's number.
        hatch: An id that is unique on the page.
    """
    column = {name: index for index, name in enumerate(shape.operations)}
    parts = [_hatch(hatch)]
    for name, index in column.items():
        x = _LEFT + index * (_WIDTH + _GAP) + _WIDTH / 2
        head, tail = short_name(name)
        lines = [head, tail] if tail else [head]
        for offset, line in enumerate(reversed(lines)):
            y = _TOP - 9 - 13 * offset
            parts.append(tag("text", line, x=x, y=y, class_="middle"))
    for index, (source, target) in enumerate(shape.edges):
        y = _TOP + index * (_HEIGHT + _GAP) + _HEIGHT / 2 + 4
        parts.append(tag("text", f"{source} → {target}", x=0, y=y))
    for row in rows:
        x = _LEFT + column[row.name] * (_WIDTH + _GAP)
        y = _TOP + row.edge * (_HEIGHT + _GAP)
        parts.append(_square(row, x, y, scales, hatch))
    width = _LEFT + len(column) * (_WIDTH + _GAP) + 1
    height = _TOP + len(shape.edges) * (_HEIGHT + _GAP) + 1
    label = f"Scores of the {len(rows)} operations of the {shape.name} cell"
    return picture(width, height, label, *parts, class_="heatmap")


def legend(
    scales: Mapping[int, Scale], hatch: str, rows: Sequence[Operation]
) -> Markup:
    """The colour bar with its values, and what border, strike and hatching mean.

    With several rounds the bar has words for values: each round has its own.
    """
    parts = [_bar(list(scales.values()))] if scales else []
    samples = [("kept", 2 * STEPS - 3), ("dropped", STEPS + 3)]
    if scales:
        parts += [
            _key(_swatch(fate, f"var(--heat{step})"), fate) for fate, step in samples
        ]
    without = {"kept" if row.kept else "dropped" for row in rows if row.score is None}
    parts += [
        _key(_swatch(fate, f"url(#{hatch})"), f"{fate}, no score")
        for fate, _ in samples
        if fate in without
    ]
    if len(scales) > 1:
        note = (
            "The number is the round of the score. Colours compare scores of one round "
            "only."
        )
        parts.append(tag("span", note))
    return tag("div", *parts, class_="legend")


def _bar(scales: Sequence[Scale]) -> Markup:
    # A round whose scores are all 0 has no side.
    scale = max(scales, key=lambda scale: max(-scale.low, scale.high))
    ends = f"≤ {show(scale.low, 2)}", f"≥ {show(scale.high, 2)}"
    if scale.diverging:
        steps = range(2 * STEPS + 1)
    elif scale.high <= 0 and scale.low < 0:
        steps = range(STEPS + 1)
    else:
        steps = range(STEPS, 2 * STEPS + 1)
    if len(scales) > 1:
        ends = "lowest of its round", "highest"
        if scale.diverging:
            ends = "negative", "positive"
    width = 200 / len(steps)
    parts = [
        tag(
            "rect",
            x=1 + index * width,
            y=1,
            width=width + 0.4,
            height=12,
            style=f"fill:var(--heat{step})",
        )
        for index, step in enumerate(steps)
    ]
    ticks = [(0.0, ends[0], "start"), (200.0, ends[1], "end")]
    if scale.diverging:
        ticks.insert(1, (100.0, "0", "middle"))
    parts += [
        tag("text", text, x=1 + x, y=28, class_=anchor) for x, text, anchor in ticks
    ]
    return picture(202, 32, "Colour scale of the scores", *parts, class_="heatmap bar")


def _swatch(class_: str, fill: str) -> Markup:
    box = tag(
        "rect",
        x=1,
        y=1,
        width=30,
        height=16,
        rx=2.5,
        style=f"fill:{fill}",
        class_=class_,
    )
    strike = Markup("")
    if class_ == "dropped":
        d = "M5 14L27 4"
        strike = tag("path", class_="halo", d=d) + tag("path", class_="strike", d=d)
    return picture(32, 18, class_, box, strike, class_="heatmap swatch")


def _key(swatch: Markup, text: str) -> Markup:
    return tag("span", swatch, text, class_="key")
