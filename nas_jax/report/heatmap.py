"""The heat map of operation scores: one picture a cell, and its legend."""

from __future__ import annotations

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


def describe(row: Operation) -> str:
    """One operation's fate in a sentence fragment, for the tooltip."""
    fate = "kept" if row.kept else "dropped"
    if row.score is None:
        return f"{fate}, not scored" + (f": {row.reason}" if row.reason else "")
    spread = "" if row.score_std is None else f" ± {show(row.score_std)}"
    return f"{fate}, score {show(row.score)}{spread}"


def _square(row: Operation, x: float, y: float, scale: Scale, hatch: str) -> Markup:
    fill = f"url(#{hatch})"
    if row.score is not None:
        fill = f"var(--heat{scale.step(row.score)})"
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
    title = f"{row.source} → {row.target}, {row.name}: {describe(row)}"
    return tag("g", tag("title", title), box, strike, class_="operation")


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
    shape: CellShape, rows: list[Operation], scale: Scale, hatch: str
) -> Markup:
    """Rows are the cell's edges, columns its operations; `hatch` is a unique id."""
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
        parts.append(_square(row, x, y, scale, hatch))
    width = _LEFT + len(column) * (_WIDTH + _GAP) + 1
    height = _TOP + len(shape.edges) * (_HEIGHT + _GAP) + 1
    label = f"Scores of the {len(rows)} operations of the {shape.name} cell"
    return picture(width, height, label, *parts, class_="heatmap")


def legend(scale: Scale, hatch: str, unscored: bool) -> Markup:
    """The colour bar with its values, and what border, strike and hatching mean."""
    if scale.diverging:
        steps = range(2 * STEPS + 1)
    elif scale.high <= 0:
        steps = range(STEPS + 1)
    else:
        steps = range(STEPS, 2 * STEPS + 1)
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
    ticks = [
        (0.0, f"≤ {show(scale.low, 2)}", "start"),
        (200.0, f"≥ {show(scale.high, 2)}", "end"),
    ]
    if scale.diverging:
        ticks.insert(1, (100.0, "0", "middle"))
    parts += [
        tag("text", text, x=1 + x, y=28, class_=anchor) for x, text, anchor in ticks
    ]
    bar = picture(202, 32, "Colour scale of the scores", *parts, class_="heatmap bar")
    samples = [("kept", "kept", 2 * STEPS - 3), ("dropped", "dropped", STEPS + 3)]
    keys = [
        _key(_swatch(class_, f"var(--heat{step})"), text)
        for class_, text, step in samples
    ]
    if unscored:
        keys.append(_key(_swatch("dropped", f"url(#{hatch})"), "dropped, not scored"))
    return tag("div", bar, *keys, class_="legend")


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
