"""The one chart engine: matplotlib's SVG, made fit to stand in the page.

Only `Figure` objects are used, never pyplot's global state. matplotlib needs fixed
colours, so each stands for a CSS variable of the page and is swapped for it in the SVG.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, Formatter, MaxNLocator
from numpy.typing import NDArray

from nas_jax.report.artefacts import finite
from nas_jax.report.formats import tick_texts
from nas_jax.report.logs import LogRow, SearchLog
from nas_jax.report.style import KINDS, dash_of, kind_of
from nas_jax.spaces import CellSpec

_VARIABLES = ("ink", "soft", "line", "panel", "accent", "second")
COLOUR = {
    name: f"#{number:06x}"
    for number, name in enumerate(
        (*_VARIABLES, *(f"op-{kind.key}" for kind in KINDS)), start=1
    )
}
"""matplotlib's colour for each CSS variable that a chart may use."""

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nas_jax",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.unicode_minus": True,
    # A chart shows the page behind it.
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": COLOUR["soft"],
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.labelcolor": COLOUR["soft"],
    "text.color": COLOUR["ink"],
    "grid.color": COLOUR["line"],
    "xtick.color": COLOUR["soft"],
    "ytick.color": COLOUR["soft"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.solid_capstyle": "round",
}
_GROUPS = 240
_POINTS = 14_000
"""Most points drawn over all panels of alphas together; bounds the page's size."""
_SPANS = [share / 1000 for share in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300)]
_SPANS += [0.5, 0.7, 1.0]

Numbers = NDArray[np.float64]


@contextmanager
def canvas(width: float, height: float, **settings: Any) -> Iterator[Figure]:
    """A figure of a size in pixels at which its fonts have theirs; leaves no trace."""
    changed: Any = _SETTINGS | settings
    with matplotlib.rc_context(changed):
        yield Figure(figsize=(width / 72, height / 72))


def inline(figure: Figure, label: str, identifier: str, class_: str) -> Markup:
    """A figure as inline SVG, inside `canvas`; its ids start with `identifier`.

    The label is its name for screen readers and its tooltip.
    """
    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    svg = stream.getvalue()
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    # matplotlib styles `*`, which would reach the whole page.
    foreign = (
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->"
    )
    body = re.sub(foreign, "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # In tags alone: what stands between them is read by people.
    body = re.sub(r"<[^>]*>", lambda m: _in_page(m.group(), identifier), body)
    body = re.sub(r">\s+<", "><", body[body.index(">") + 1 :]).strip()
    name = escape(label)
    return Markup(
        f'<svg class="{class_}" role="img" aria-label="{name}" {box.group()}>'
        f"<title>{name}</title>{body}"
    )


def _in_page(tag: str, identifier: str) -> str:
    """A tag of matplotlib's with the page's colours, fonts and ids, and short."""
    tag = re.sub(r'<g id="[^"]*"', "<g", tag).replace("xlink:href", "href")
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{identifier}-", tag)
    for name, colour in COLOUR.items():
        tag = tag.replace(colour, f"var(--{name})")
    # The page's own font takes over; only the size stays matplotlib's.
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    tag = re.sub(r"\s+(?=[\"MLCQz])|(?<=[MLCQ])\s+", "", tag)
    return re.sub(
        r"-?\d+\.\d{3,}",
        lambda m: f"{float(m.group()):.2f}".rstrip("0").rstrip("."),
        tag,
    )


class Ticks(Formatter):
    """Labels that tell any two ticks apart."""

    def __init__(self, as_percent: bool = False) -> None:
        self._scale, self._unit = (100, "%") if as_percent else (1, "")

    def __call__(self, value: float, pos: int | None = None) -> str:
        """The label of a tick that stands alone."""
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All labels of an axis."""
        ticks = [self._scale * float(value) for value in values]
        return tick_texts(ticks, self._unit) if ticks else []


@dataclass(frozen=True)
class Curve:
    """A named curve: `colour` is `accent` or `second`; `marked` draws its points."""

    name: str
    colour: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    marked: bool = False

    @property
    def grouped(self) -> bool:
        """Whether it is too long to be drawn point by point."""
        return len(self.x) > _GROUPS


def curve(
    rows: Sequence[LogRow], key: str, name: str, colour: str, marked: bool = False
) -> Curve | None:
    """One logged number over epochs, where both are finite; None if it never was."""
    points = [
        (x, y)
        for row in rows
        if (x := finite(row.values.get("epoch"))) is not None
        and (y := finite(row.values.get(key))) is not None
    ]
    if not points:
        return None
    epochs, values = zip(*points, strict=True)
    return Curve(name, colour, epochs, values, marked)


def thin(values: Sequence[float]) -> Numbers:
    """Mean, lowest and highest, `[3, groups]`, of consecutive groups of near one size.

    Few values are a group each.
    """
    parts = np.array_split(np.asarray(values), min(_GROUPS, len(values)))
    return np.array([(part.mean(), part.min(), part.max()) for part in parts]).T


def line_chart(
    curves: Sequence[Curve], label: str, identifier: str, as_percent: bool
) -> Markup:
    """Curves over epochs.

    A long curve is drawn as the mean of groups of rows inside the band of their range.
    """
    with canvas(420, 210) as figure:
        axes = figure.add_axes((0.1, 0.16, 0.885, 0.8))
        for item in curves:
            colour = COLOUR[item.colour]
            x = thin(item.x)[0]
            mean, low, high = thin(item.y)
            if item.grouped:
                axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            marked = item.marked and len(x) <= 40 or len(x) == 1
            marker = "o" if marked else None
            axes.plot(x, mean, color=colour, lw=1.5, marker=marker, markersize=3.5)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=2))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch", loc="right", labelpad=1)
        axes.margins(x=0.015, y=0.07)
        axes.xaxis.set_major_formatter(Ticks())
        axes.yaxis.set_major_formatter(Ticks(as_percent))
        if as_percent:
            bottom, top = axes.get_ylim()
            axes.set_ylim(max(bottom, -0.02), min(top, 1.02))
        epochs = {epoch for item in curves for epoch in item.x}
        if len(epochs) == 1:
            axes.xaxis.set_major_locator(FixedLocator(list(epochs)))
        return inline(figure, label, identifier, "chart")


def pick_rows(count: int, lines: int) -> list[int]:
    """Evenly spaced row indices with both ends, few enough for so many lines."""
    wanted = min(count, max(2, _POINTS // max(1, lines)))
    return [round(i) for i in np.linspace(0, count - 1, wanted)]


def axis_of(values: Numbers) -> tuple[float, float]:
    """A panel's axis in 0 to 1: the least of a few spans about the finite values."""
    found = values[np.isfinite(values)]
    low, high = (found.min(), found.max()) if found.size else (0.0, 1.0)
    span = next((span for span in _SPANS if span >= 1.2 * (high - low)), 1.0)
    # Two digits of the span are enough for its ends.
    middle = round((low + high) / 2, 1 - math.floor(math.log10(span)))
    start = min(max(0.0, middle - span / 2), 1 - span)
    return round(start, 6), round(start + span, 6)


@dataclass(frozen=True)
class AlphaPanel:
    """One edge over time; `moved` is the most that a probability left its first one."""

    edge: tuple[int, int]
    chosen: str | None
    picture: Markup
    moved: float

    @property
    def kind(self) -> str:
        """What the chosen operation is coloured as."""
        return kind_of(self.chosen or "").key


def alpha_panels(
    shape: CellSpec,
    search: SearchLog,
    chosen: dict[tuple[int, int], str],
    rows: list[int],
    identifier: str,
) -> list[AlphaPanel]:
    """A panel for each edge of a cell, in the order of the edges.

    `chosen` operations by edge are bold, and those `rows` of the log are drawn.
    """
    times = np.array([float(search.rows[row].step) for row in rows])
    panels = []
    for index, edge in enumerate(shape.edges):
        logged = np.array([row[shape.name][index] for row in search.alphas])
        op, name = chosen.get(edge), f"{identifier}-{index}"
        picture = _panel(shape, edge, times, logged[rows], op, name)
        gone = np.abs(logged - logged[0])
        moved = float(np.nanmax(gone)) if np.isfinite(gone).any() else 0.0
        panels.append(AlphaPanel(edge, op, picture, moved))
    return panels


def _panel(
    shape: CellSpec,
    edge: tuple[int, int],
    times: Numbers,
    series: Numbers,
    chosen: str | None,
    identifier: str,
) -> Markup:
    """One edge's panel; `series[t, o]` is operation o's probability at time t."""
    live = [i for i, line in enumerate(series.T) if is_live(line)]
    low, high = axis_of(series[:, live])
    # The figures stand beyond the rules, where no line is.
    heights = 0.15 + 0.7 * (np.clip(series, low, high) - low) / (high - low)
    # A single time stands in the middle.
    span = times[-1] - times[0]
    x = (times - times[0]) / span if span else np.full_like(times, 0.5)
    with canvas(142, 100) as figure:
        figure.patch.set_facecolor(COLOUR["panel"])
        soft = COLOUR["soft"]
        for end, height, away, side in (
            (high, 0.85, 0.02, "bottom"),
            (low, 0.15, -0.02, "top"),
        ):
            _line(figure, (0, 1), (height, height), COLOUR["line"])
            figure.text(0.03, height + away, f"{100 * end:.4g}%", color=soft, va=side)
        for index in sorted(live, key=lambda index: shape.ops[index] == chosen):
            operation, y = shape.ops[index], heights[:, index]
            colour = COLOUR[f"op-{kind_of(operation).key}"]
            bold = operation == chosen
            dash = dash_of(operation, shape.ops)
            _line(figure, x, y, colour, lw=2.4 if bold else 1.3, linestyle=dash)
            # A point without a neighbour, of which a line shows nothing.
            there = np.isfinite(y)
            lone = there & ~(np.r_[False, there[:-1]] | np.r_[there[1:], False])
            if lone.any():
                dot: Any = {"marker": "o", "ms": 6.4 if bold else 4.8, "mew": 0}
                _line(figure, x[lone], y[lone], colour, linestyle="none", **dot)
        ending = ", ".join(
            f"{shape.ops[index]} {series[-1, index]:.3g}" for index in live
        )
        source, target = edge
        label = (
            f"Edge {source} → {target} of the {shape.name} cell, from {100 * low:.4g}% "
            f"to {100 * high:.4g}%; at the end {ending}"
        )
        return inline(figure, label, identifier, "panel")


def is_live(series: Numbers) -> bool:
    """Whether an operation was searched: pruned ones have no probability."""
    return bool(np.any(np.isfinite(series) & (series > 0)))


def line_sample(operation: str, operations: Sequence[str], identifier: str) -> Markup:
    """An operation's line as it is drawn in the panels, for their legend."""
    with canvas(28, 12) as figure:
        colour = COLOUR[f"op-{kind_of(operation).key}"]
        dash = dash_of(operation, operations)
        _line(figure, (0.04, 0.96), (0.5, 0.5), colour, lw=2, linestyle=dash)
        return inline(figure, operation, identifier, "panel sample")


def _line(figure: Figure, x: Any, y: Any, colour: str, **style: Any) -> None:
    """A line in shares of the figure; axes, of which none is seen, cost ten times."""
    figure.add_artist(Line2D(x, y, color=colour, **{"lw": 1.0, **style}))
