"""Alphas over time: one small panel an edge, all on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from nas_jax.report.logs import SearchLog
from nas_jax.report.shapes import CellShape, Gene
from nas_jax.report.style import dash_of, kind_of, label_of
from nas_jax.report.svg import fixed, picture, tag

_WIDTH, _HEIGHT = 142.0, 108.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.0, 1.0, 20.0, 1.0
_POINTS = 14_000
"""Most points drawn over all panels together; it bounds the size of the page."""


def pick_rows(count: int, lines: int) -> list[int]:
    """Evenly spaced row indices with both ends, few enough for so many lines."""
    wanted = min(count, max(2, _POINTS // max(1, lines)))
    if wanted < 2:
        return list(range(count))
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]


def nice_top(highest: float) -> float:
    """The least of 0.2, 0.4, 0.6, 0.8 and 1 that leaves the curves some air."""
    for top in (0.2, 0.4, 0.6, 0.8):
        if highest <= 0.97 * top:
            return top
    return 1.0


def highest_probability(search: SearchLog) -> float:
    """The highest probability logged in any cell, 0 if none is finite."""
    return max(
        (
            value
            for row in search.alphas
            for edges in row.values()
            for edge in edges
            for value in edge
            if math.isfinite(value)
        ),
        default=0.0,
    )


def line_path(xs: Sequence[float], ys: Sequence[float | None]) -> str:
    """A path through the points; it is broken where a value is None."""
    commands, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            pen = "M"
            continue
        commands.append(f"{pen}{fixed(x)} {fixed(y)}")
        pen = "L"
    return "".join(commands)


def lone_points(
    xs: Sequence[float], ys: Sequence[float | None]
) -> list[tuple[float, float]]:
    """The points without a neighbour, of which a path shows nothing."""
    padded = [None, *ys, None]
    return [
        (x, y)
        for i, (x, y) in enumerate(zip(xs, ys, strict=True))
        if y is not None and padded[i] is None and padded[i + 2] is None
    ]


def _panel(
    shape: CellShape,
    edge: int,
    series: Sequence[Sequence[float]],
    times: Sequence[float],
    top: float,
    chosen: str | None,
) -> Markup:
    """One edge's panel; `series[t]` has the edge's probabilities at time t."""
    span = times[-1] - times[0]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    # A single time stands in the middle.
    xs = [_LEFT + wide * ((t - times[0]) / span if span else 0.5) for t in times]

    def height(value: float) -> float | None:
        return (
            _TOP + high * (1 - min(1.0, value / top)) if math.isfinite(value) else None
        )

    source, target = shape.edges[edge]
    live = [
        index
        for index in range(len(shape.operations))
        if any(math.isfinite(row[index]) and row[index] > 0 for row in series)
    ]
    parts = [tag("text", f"{source} → {target}", x=_LEFT, y=12, class_="edge-name")]
    if chosen is not None:
        name = label_of(chosen)
        class_ = f"end chosen op-{kind_of(chosen).key}"
        parts.append(tag("text", name, x=_WIDTH - _RIGHT, y=12, class_=class_))
    ground = tag("rect", x=_LEFT, y=_TOP, width=wide, height=high, class_="ground")
    parts.append(ground)
    middle = _TOP + high / 2
    parts.append(tag("path", class_="rule", d=f"M{_LEFT:g} {middle:g}h{wide:g}"))
    for index in sorted(live, key=lambda index: shape.operations[index] == chosen):
        operation = shape.operations[index]
        ys = [height(row[index]) for row in series]
        kind = f"op-{kind_of(operation).key}"
        bold = " chosen" if operation == chosen else ""
        line = tag(
            "path",
            tag("title", operation),
            class_=f"line {kind}{bold}",
            stroke_dasharray=dash_of(operation, shape.operations) or None,
            d=line_path(xs, ys),
        )
        parts.append(line)
        for x, y in lone_points(xs, ys):
            title = tag("title", operation)
            radius = 3.2 if bold else 2.4
            parts.append(
                tag("circle", title, class_=f"lone {kind}", cx=x, cy=y, r=radius)
            )
    ending = ", ".join(
        f"{shape.operations[index]} {series[-1][index]:.2f}" for index in live
    )
    label = f"Edge {source} → {target} of the {shape.name} cell; at the end {ending}"
    return picture(_WIDTH, _HEIGHT, label, *parts, class_="panel")


def alpha_panels(
    shape: CellShape,
    search: SearchLog,
    genes: tuple[Gene, ...],
    top: float,
    rows: list[int],
) -> list[Markup]:
    """A panel for each edge of a cell, in the order of the edges.

    `top` is the probability at the upper rim; `genes` marks the chosen operations.
    """
    chosen = {(gene.source, gene.target): gene.operation for gene in genes}
    times = [float(search.rows[row].step) for row in rows]
    return [
        _panel(
            shape,
            edge,
            [search.alphas[row][shape.name][edge] for row in rows],
            times,
            top,
            chosen.get(pair),
        )
        for edge, pair in enumerate(shape.edges)
    ]


def legend(operations: Sequence[str]) -> Markup:
    """Every operation's line, in colour and dash."""
    names = tuple(operations)
    keys = []
    for operation in names:
        line = tag(
            "path",
            class_=f"line op-{kind_of(operation).key}",
            stroke_dasharray=dash_of(operation, names) or None,
            d="M1 6h24",
        )
        sample = picture(26, 12, operation, line, class_="panel sample")
        keys.append(tag("span", sample, label_of(operation), class_="key"))
    return tag("div", *keys, class_="legend")
