"""Curves of loss and accuracy, drawn by matplotlib as SVG that follows the page.

Only `Figure` objects are used, never pyplot's global state. matplotlib needs fixed
colours, so each stands for a CSS variable and is swapped for it in the SVG.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, Formatter, MaxNLocator

from nas_jax.report.artefacts import finite
from nas_jax.report.formats import tick_texts
from nas_jax.report.logs import LogRow

_STAND_INS = {
    "#010101": "ink",
    "#020202": "soft",
    "#030303": "line",
    "#040404": "accent",
    "#050505": "second",
}
_COLOUR = {name: stand_in for stand_in, name in _STAND_INS.items()}
_POINTS = 240

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nas_jax",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Curve:
    """A named curve: `colour` is `accent` or `second`; `marked` draws its points."""

    name: str
    colour: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    marked: bool = False


def curve(
    rows: Sequence[LogRow], key: str, name: str, colour: str, marked: bool = False
) -> Curve | None:
    """The curve of one logged number over epochs, or None if it was never logged.

    Rows without a finite value or epoch are left out.
    """
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


def thin(values: Sequence[float], groups: int) -> list[tuple[float, float, float]]:
    """(mean, lowest, highest) of consecutive groups of nearly equal size."""
    count = len(values)
    groups = min(groups, count)
    bounds = [round(i * count / groups) for i in range(groups + 1)]
    parts = [values[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    return [(sum(part) / len(part), min(part), max(part)) for part in parts]


def line_chart(
    curves: Sequence[Curve], label: str, identifier: str, as_percent: bool
) -> Markup:
    """Curves over epochs as an inline SVG whose ids start with `identifier`.

    A long curve is drawn as the mean of groups of rows inside the band of their range.
    """
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(5.2, 2.7))
        axes = figure.add_axes((0.085, 0.185, 0.9, 0.775))
        for item in curves:
            colour = _COLOUR[item.colour]
            x = [mean for mean, _, _ in thin(item.x, _POINTS)]
            mean, low, high = zip(*thin(item.y, _POINTS), strict=True)
            if len(item.x) > _POINTS:
                axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(
                x,
                mean,
                color=colour,
                linewidth=1.4,
                marker="o" if item.marked and len(x) <= 40 or len(x) == 1 else None,
                markersize=3,
                solid_capstyle="round",
            )
        _dress(axes, as_percent)
        epochs = {epoch for item in curves for epoch in item.x}
        if len(epochs) == 1:
            axes.xaxis.set_major_locator(FixedLocator(list(epochs)))
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _inline(stream.getvalue(), label, identifier)


class _Ticks(Formatter):
    """Labels that tell any two ticks apart."""

    def __init__(self, as_percent: bool) -> None:
        self._scale, self._unit = (100, "%") if as_percent else (1, "")

    def __call__(self, value: float, pos: int | None = None) -> str:
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All labels of an axis."""
        ticks = [self._scale * float(value) for value in values]
        return tick_texts(ticks, self._unit) if ticks else []


def _dress(axes: matplotlib.axes.Axes, as_percent: bool) -> None:
    """Light grid, no frame, few ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_COLOUR["soft"])
    axes.spines["bottom"].set_linewidth(0.6)
    axes.grid(axis="y", color=_COLOUR["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(
        colors=_COLOUR["soft"], length=0, labelcolor=_COLOUR["soft"], pad=4
    )
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=2))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("epoch", color=_COLOUR["soft"], loc="right", labelpad=2)
    axes.margins(x=0.015, y=0.07)
    axes.xaxis.set_major_formatter(_Ticks(as_percent=False))
    axes.yaxis.set_major_formatter(_Ticks(as_percent))
    if as_percent:
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, -0.02), min(top, 1.02))
    axes.set_facecolor("none")
    axes.figure.patch.set_visible(False)


def _inline(svg: str, label: str, identifier: str) -> Markup:
    """A matplotlib SVG made fit to stand in a page beside others of its kind."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # matplotlib styles `*`, which would reach the whole page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    head = f'<svg class="chart" role="img" aria-label="{Markup.escape(label)}" '
    svg = head + box.group() + svg[svg.index(">") :]
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{identifier}-', svg)
    svg = re.sub(r'href="#', f'href="#{identifier}-', svg)
    svg = svg.replace("url(#", f"url(#{identifier}-")
    for stand_in, name in _STAND_INS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    # The page's own font takes over; only the size stays matplotlib's.
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"', "", svg)
    # In tags alone: what stands between them is read by people.
    svg = re.sub(r"<[^>]*>", lambda m: _rounded(m.group()), svg)
    return Markup(re.sub(r">\s+<", "><", svg))


def _rounded(tag: str) -> str:
    """A tag whose coordinates have at most two decimals."""
    return re.sub(
        r"-?\d+\.\d{3,}",
        lambda m: f"{float(m.group()):.2f}".rstrip("0").rstrip("."),
        tag,
    )
