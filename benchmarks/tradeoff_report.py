"""The table and the plot of a trade-off study, from its rows.

    python -m benchmarks.tradeoff_report --rows=nasbench201.jsonl --out=tradeoff

writes tradeoff.svg and prints the table in Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

FLAGS = flags.FLAGS
flags.DEFINE_list("rows", None, "JSONL files that benchmarks.tradeoff wrote.")
flags.DEFINE_string("out", None, "Name of the plot, without .svg.")
flags.mark_flags_as_required(["rows", "out"])

Row = dict[str, Any]
# Colour-blind safe (Okabe and Ito 2008), the control in grey.
COLOURS = {
    "zero_one_shot": "#0072B2",
    "te_nas": "#E69F00",
    "ete_nas": "#009E73",
    "zero_cost_pt": "#CC79A7",
    "sampled": "#D55E00",
    "random": "#7f7f7f",
}
MIB = 2**20


def grouped(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    """Rows of all seeds by strategy and level."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["strategy"], row["level"]), []).append(row)
    return groups


def spread(rows: Sequence[Row], name: str, digits: int = 2) -> str:
    """Mean and standard deviation over seeds, in words; empty where there is none."""
    values = [row[name] for row in rows if row.get(name) is not None]
    if not values:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def middle(rows: Sequence[Row], name: str, scale: float = 1.0, digits: int = 1) -> str:
    """Median over seeds; a dash where nothing was measured."""
    values = [row[name] / scale for row in rows if row.get(name)]
    return f"{np.median(values):.{digits}f}" if values else "–"


def table(rows: Sequence[Row]) -> str:
    """One line for each strategy and level."""
    looked_up = any("kept_mean" in row for row in rows)
    head = ["strategy", "level", "seeds", "kept", "step, MiB", "step, ms", "prune, s"]
    head += ["search, s", "accuracy", *["mean of what is left"] * looked_up]
    lines = [_line(head), _line(["---"] * len(head))]
    for (strategy, level), group in grouped(rows).items():
        cells = [
            strategy,
            f"{level:g}",
            f"{len(group)}",
            f"{group[0]['kept']}",
            middle(group, "step_peak_bytes", MIB),
            middle(group, "step_seconds", 1e-3, 0),
            middle(group, "prune_seconds"),
            middle(group, "search_seconds", digits=0),
            spread(group, "accuracy"),
        ]
        cells += [spread(group, "kept_mean")] if looked_up else []
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Accuracy by level with a bar of one standard deviation over seeds."""
    panels = [("accuracy", "accuracy of what was found, %")]
    if any("kept_mean" in row for row in rows):
        panels.append(("kept_mean", "mean accuracy of what is left, %"))
    panels.append(("step_peak_bytes", "memory of the search step, MiB"))
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    groups = grouped(rows)
    for axis, (name, label) in zip(axes, panels, strict=True):
        scale = MIB if name.endswith("bytes") else 1
        for number, (strategy, colour) in enumerate(COLOURS.items()):
            points = []
            for (other, level), group in sorted(groups.items(), key=lambda g: g[0][1]):
                values = [r[name] / scale for r in group if r.get(name) is not None]
                if other in (strategy, "none") and values:
                    # Side by side, or bars hide each other.
                    shift = 0.008 * (number - 2.5) if level else 0
                    # One seed has no deviation, and gets no bar.
                    several = len(values) > 1
                    deviation = np.std(values, ddof=1) if several else np.nan
                    points.append((level + shift, np.mean(values), deviation))
            # Without a row of its own, a strategy has the unpruned point alone.
            if any(level for level, *_ in points):
                x, y, error = zip(*points, strict=True)
                axis.errorbar(
                    x,
                    y,
                    error,
                    color=colour,
                    label=strategy,
                    marker="o",
                    markersize=3.5,
                    linewidth=1.2,
                    capsize=2,
                    linestyle="--" if strategy == "random" else "-",
                )
        fence(axis, [r[name] / scale for r in rows if r.get(name) is not None])
        axis.set_xlabel("pruning level")
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", linewidth=0.4, alpha=0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "nas_jax", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


def fence(axis: Axes, values: Sequence[float]) -> None:
    """Ends an axis where outliers begin (Tukey 1977), and says which mean is beyond.

    One failed search would else make all differences invisible.
    """
    first, third = np.percentile(values or [0.0], [25, 75])
    low = first - 3 * max(third - first, 0.01 * abs(third))
    if min(values, default=0.0) >= low:
        return
    axis.set_ylim(low, max(values) + 0.1 * (max(values) - low))
    told: list[float] = []
    for container in axis.containers:
        for x, y in zip(*container[0].get_data(), strict=True):
            if y < low:
                axis.annotate(
                    f"{container.get_label()}: {y:.1f}",
                    (x, low),
                    # One above the other where they are close.
                    (4, 4 + 9 * sum(abs(x - other) < 0.2 for other in told)),
                    textcoords="offset points",
                    color=container[0].get_color(),
                    fontsize="small",
                )
                told.append(x)


def main(argv: Sequence[str]) -> None:
    """Prints the table and draws the plot."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    rows = [
        json.loads(line)
        for name in FLAGS.rows
        for line in Path(name).read_text(encoding="utf-8").splitlines()
    ]
    order = ["none", *COLOURS]
    rows.sort(key=lambda r: (order.index(r["strategy"]), r["level"], r["seed"]))
    print(table(rows))
    draw(rows, Path(f"{FLAGS.out}.svg"))


if __name__ == "__main__":
    app.run(main)
