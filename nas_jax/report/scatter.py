"""A score against an accuracy: one point an architecture, and their correlation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from nas_jax.errors import DataError, WorkdirError
from nas_jax.report.charts import COLOUR, Ticks, canvas, inline
from nas_jax.report.formats import count
from nas_jax.report.style import palette_css
from nas_jax.tabular import FEWEST, Correlation

_WIDTH, _HEIGHT, _MARGIN = 640, 440, 12
_LAYERS = 24
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


def _notes(rho: Correlation, tau: Correlation, failed: int, beyond: int) -> str:
    notes = [f"{count(rho.used)} architectures"]
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
    return ", ".join(notes)


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

    `scores` and `accuracies` are `[N]`; pairs with a NaN or infinite number are not
    drawn but counted. `rho` and `tau` are Spearman's and Kendall's, of the two.

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
    shown_x, shown_y = np.clip(x, *range_x), np.clip(y, *range_y)
    beyond = int(np.sum((shown_x != x) | (shown_y != y)))
    title = f"{score_name} against {accuracy_name}"
    figures = f"Spearman {interval_text('ρ', rho)}, Kendall {interval_text('τ', tau)}"
    notes = _notes(rho, tau, failed, beyond)
    # A dot is a line of no length, of which simplification would leave nothing.
    with canvas(_WIDTH, _HEIGHT, **{"path.simplify": False}) as figure:
        axes = figure.add_axes((0.1, 0.115, 0.88, 0.745))
        # Points of one path do not darken each other where they overlap, those of
        # different paths do. A path of dots is a quarter of the size of as many marks.
        layers = min(_LAYERS, len(x))
        opacity = 0.25 if len(x) > 1000 else 0.5
        for layer in range(layers):
            dots_x, dots_y = (
                np.stack([v, v, np.full_like(v, np.nan)], axis=1).ravel()
                for v in (shown_x[layer::layers], shown_y[layer::layers])
            )
            axes.plot(
                dots_x,
                dots_y,
                color=COLOUR["accent"],
                lw=3.6,
                alpha=opacity,
                clip_on=False,
            )
        axes.set(xlim=range_x, ylim=range_y, xlabel=score_name, ylabel=accuracy_name)
        axes.grid(axis="y")
        for axis, most in ((axes.xaxis, 7), (axes.yaxis, 6)):
            axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(Ticks())
            axis.label.set(color=COLOUR["ink"], fontsize=12)
            axis.set_tick_params(labelsize=11)
        for text, up, size, weight, colour in (
            (title, 0.965, 14, "bold", "ink"),
            (figures, 0.925, 12, "normal", "ink"),
            (notes, 0.887, 11, "normal", "soft"),
        ):
            figure.text(0.1, up, text, size=size, weight=weight, color=COLOUR[colour])
        label = f"{title}: {figures}, {notes}"
        return inline(figure, label, "scatter", "scatter")


def write_scatter(path: str | os.PathLike[str], drawn: Markup) -> None:
    """Writes a picture of `scatter` as an SVG file that needs no page around it.

    Raises:
      WorkdirError: the file cannot be written.
    """
    width, height = _WIDTH + 2 * _MARGIN, _HEIGHT + 2 * _MARGIN
    inner = str(drawn).replace(
        "<svg ",
        f'<svg x="{_MARGIN}" y="{_MARGIN}" width="{_WIDTH}" height="{_HEIGHT}" '
        'overflow="visible" ',
        1,
    )
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>{palette_css()}{_CSS}</style>'
        f'<rect width="100%" height="100%" style="fill:var(--page)"/>{inner}</svg>\n'
    )
    try:
        Path(path).write_text(whole, encoding="utf-8")
    except OSError as error:
        raise WorkdirError(
            f"cannot write {path}: {error.strerror}; give a path in a folder that you "
            "may write to"
        ) from error
