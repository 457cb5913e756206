"""A score against an accuracy: one point an architecture, and their rank correlation.

The picture stands in a page of the report as it is; `write_scatter` makes a file of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from nas_jax.errors import DataError, WorkdirError
from nas_jax.report.formats import count, tick_texts
from nas_jax.report.style import palette_css
from nas_jax.report.svg import fixed, picture, tag
from nas_jax.tabular import FEWEST, Correlation

_WIDTH, _HEIGHT = 640.0, 440.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 14.0, 62.0, 62.0
_LAYERS = 24
_SIZE = 3.6

_CSS = "text{font-family:system-ui,'DejaVu Sans',sans-serif}"


def axis_range(values: np.ndarray) -> tuple[float, float]:
    """The ends of an axis: those of the values, unless a few lie far off.

    The axis reaches at most half the span of the middle 98% beyond it, so that a
    handful of extreme scores does not press all others into a line.
    """
    low, high = np.quantile(values, (0.01, 0.99))
    air = (high - low) / 2
    start, end = max(values.min(), low - air), min(values.max(), high + air)
    if start == end:
        return float(values.min()) - 0.5, float(values.max()) + 0.5
    margin = 0.02 * (end - start)
    return float(start - margin), float(end + margin)


def interval_text(name: str, found: Correlation) -> str:
    """A correlation with its interval: `ρ = 0.811 [0.803, 0.819]`; a true minus."""
    lacking = found.lacks_interval
    if not np.isfinite(found.value):
        return f"{name} {lacking}"
    interval = f"({lacking})" if lacking else f"[{found.low:.3f}, {found.high:.3f}]"
    return f"{name} = {found.value:.3f} {interval}".replace("-", "−")


def scatter(
    scores: ArrayLike,
    accuracies: ArrayLike,
    rho: Correlation,
    tau: Correlation,
    *,
    score_name: str,
    accuracy_name: str,
) -> Markup:
    """The scatter plot as an inline SVG that uses the colours of the report's pages.

    Args:
      scores: `[N]`, along the horizontal axis.
      accuracies: `[N]`, along the vertical axis. Pairs with a NaN or infinite number
        are not drawn but counted.
      rho: Spearman's rho of the two, for the title.
      tau: Kendall's tau-b of the two.
      score_name: label of the horizontal axis, with the unit if there is one.
      accuracy_name: label of the vertical axis.

    Raises:
      DataError: the lengths differ, no pair can be drawn, or the correlations are of
        another number of pairs.
    """
    x, y = np.asarray(scores, np.float64), np.asarray(accuracies, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise DataError(
            f"scores have the shape {x.shape} and accuracies {y.shape}; give one of "
            "each for every architecture"
        )
    drawn = np.isfinite(x) & np.isfinite(y)
    if not drawn.any():
        raise DataError(
            f"no pair of {score_name!r} and {accuracy_name!r} is of two finite "
            "numbers; there is nothing to draw"
        )
    failed = len(x) - int(drawn.sum())
    x, y = x[drawn], y[drawn]
    if {rho.used, tau.used} != {len(x)}:
        raise DataError(
            f"the correlations are of {rho.used} and {tau.used} architectures, the "
            f"picture has {len(x)}; compute them from the same scores and accuracies"
        )
    range_x, range_y = axis_range(x), axis_range(y)
    beyond = int(np.sum((_clip(x, range_x) != x) | (_clip(y, range_y) != y)))
    title = f"{score_name} against {accuracy_name}"
    figures = f"Spearman {interval_text('ρ', rho)}, Kendall {interval_text('τ', tau)}"
    notes = [f"{count(len(x))} architectures"]
    if failed:
        notes.append(f"{count(failed)} more failed")
    lacking = {rho.lacks_interval, tau.lacks_interval}
    if "" in lacking:
        notes.append(f"{100 * rho.level:g}% intervals in brackets")
    if "too few" in lacking:
        notes.append(f"an interval needs {FEWEST}")
    if "no spread" in lacking:
        notes.append("every resample ranks alike")
    if beyond:
        notes.append(f"{count(beyond)} beyond an axis, drawn at its end")
    parts = [
        _text(title, _LEFT, 18, "ink", size=14, weight="600"),
        _text(figures, _LEFT, 36, "ink"),
        _text(", ".join(notes), _LEFT, 52, "soft"),
        *_axis_x(range_x, score_name),
        *_axis_y(range_y, accuracy_name),
        *_points(_across(_clip(x, range_x), range_x), _up(_clip(y, range_y), range_y)),
    ]
    label = f"{title}: {figures}, {', '.join(notes)}"
    return picture(_WIDTH, _HEIGHT, label, *parts, class_="scatter")


def write_scatter(path: str | os.PathLike[str], drawn: Markup) -> None:
    """Writes a picture of `scatter` as an SVG file that needs no page around it.

    Raises:
      WorkdirError: the file cannot be written.
    """
    ground = tag("rect", width="100%", height="100%", style="fill:var(--page)")
    margin = 12
    width, height = _WIDTH + 2 * margin, _HEIGHT + 2 * margin
    whole = tag(
        "svg",
        tag("style", Markup(palette_css() + _CSS)),
        ground,
        tag("g", drawn, transform=f"translate({margin} {margin})"),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=height,
        viewBox=f"0 0 {fixed(width)} {fixed(height)}",
    )
    try:
        Path(path).write_text(whole + "\n", encoding="utf-8")
    except OSError as error:
        raise WorkdirError(
            f"cannot write {path}: {error.strerror}; give a path in a folder that you "
            "may write to"
        ) from error


def _clip(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return np.clip(values, *ends)


def _across(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    share = (values - ends[0]) / (ends[1] - ends[0])
    positions: np.ndarray = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
    return positions


def _up(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    share = (values - ends[0]) / (ends[1] - ends[0])
    positions: np.ndarray = _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)
    return positions


def _points(x: np.ndarray, y: np.ndarray) -> list[Markup]:
    """The points in a few translucent paths.

    Points of one path do not darken each other where they overlap, those of different
    paths do. A path of dots is a quarter of the size of as many circles.
    """
    dots = [f"M{a:.1f} {b:.1f}h0" for a, b in zip(x, y, strict=True)]
    opacity = 0.25 if len(dots) > 1000 else 0.5
    style = (
        f"fill:none;stroke:var(--accent);stroke-width:{_SIZE};stroke-linecap:round;"
        f"stroke-opacity:{opacity}"
    )
    layers = min(_LAYERS, len(dots))
    return [tag("path", d="".join(dots[i::layers]), style=style) for i in range(layers)]


def _ticks(ends: tuple[float, float], number: int) -> list[float]:
    found = MaxNLocator(number, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends)
    return [float(tick) for tick in found if ends[0] <= tick <= ends[1]]


def _axis_x(ends: tuple[float, float], label: str) -> list[Markup]:
    bottom = _HEIGHT - _BOTTOM
    parts = [_line(f"M{_LEFT:g} {bottom:g}H{_WIDTH - _RIGHT:g}", "soft")]
    ticks = _ticks(ends, 7)
    places = _across(np.array(ticks), ends)
    for text, x in zip(tick_texts(ticks), places, strict=True):
        parts.append(_line(f"M{fixed(x)} {bottom:g}v5", "soft"))
        parts.append(_text(text, x, bottom + 19, "soft", "middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [*parts, _text(label, middle, bottom + 42, "ink", "middle")]


def _axis_y(ends: tuple[float, float], label: str) -> list[Markup]:
    parts = []
    ticks = _ticks(ends, 6)
    for text, y in zip(tick_texts(ticks), _up(np.array(ticks), ends), strict=True):
        parts.append(_line(f"M{_LEFT:g} {fixed(y)}H{_WIDTH - _RIGHT:g}", "line"))
        parts.append(_text(text, _LEFT - 8, y + 4, "soft", "end"))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = tag(
        "g",
        _text(label, 0, 0, "ink", "middle"),
        transform=f"translate(14 {fixed(middle)}) rotate(-90)",
    )
    return [*parts, turned]


def _line(d: str, colour: str) -> Markup:
    return tag("path", d=d, style=f"fill:none;stroke:var(--{colour})")


def _text(
    text: str,
    x: float,
    y: float,
    colour: str,
    anchor: str = "start",
    size: int = 12,
    weight: str = "400",
) -> Markup:
    style = (
        f"fill:var(--{colour});font-size:{size}px;font-weight:{weight};"
        f"text-anchor:{anchor}"
    )
    return tag("text", text, x=float(x), y=float(y), style=style)
