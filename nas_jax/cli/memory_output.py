"""Tables and charts of `nas-jax memory`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas_jax.cli.tables import aligned
from nas_jax.metrics import format_bytes

Row = Mapping[str, Any]

CHARTS = (".svg", ".png")
_MIB = 2**20


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def _mebibytes(count: float) -> str:
    return _number(count / _MIB)


_WORDS = ("target", "mask", "remat", "dtype")
_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "target": ("target", str),
    "mask": ("mask", os.path.basename),
    "kept_fraction": ("kept", "{:.3f}".format),
    "remat": ("remat", str),
    "dtype": ("dtype", str),
    "batch": ("batch", str),
    "microbatches": ("parts", str),
    "temp_bytes": ("temp", _mebibytes),
    "argument_bytes": ("arguments", _mebibytes),
    "output_bytes": ("output", _mebibytes),
    "alias_bytes": ("alias", _mebibytes),
    "peak_bytes": ("peak", _mebibytes),
    "residual_bytes": ("residuals", _mebibytes),
    "flops": ("GFLOP", lambda flops: _number(flops / 1e9)),
    "trace_seconds": ("trace s", "{:.1f}".format),
    "compile_seconds": ("compile s", "{:.1f}".format),
}


def settings_text(row: Row) -> str:
    """The settings of a row, on one line."""
    parts = [row["target"]] if "target" in row else []
    parts += [f"kept {row['kept_fraction']:.3f} ({os.path.basename(row['mask'])})"]
    parts += [f"remat {row['remat']}", row["dtype"], f"batch {row['batch']}"]
    if row["microbatches"] > 1:
        parts.append(f"in {row['microbatches']} parts")
    return ", ".join(parts)


def row_text(row: Row) -> str:
    """What was found out about a row, on one line."""
    if "error" in row:
        return str(row["error"])
    parts = []
    for name, said in (("peak", "peak"), ("temp", "temp"), ("residual", "residuals")):
        if f"{name}_bytes" in row:
            parts.append(f"{said} {format_bytes(row[f'{name}_bytes'])}")
    if row.get("refused"):
        parts.insert(1, "refused by the compiler: more than the device has")
    names = {"residual": "residuals traced", "trace": "traced", "compile": "compiled"}
    for name, verb in names.items():
        if f"{name}_seconds" in row:
            parts.append(f"{verb} in {row[f'{name}_seconds']:.1f} s")
    return ", ".join(parts)


def table(rows: Sequence[Row]) -> str:
    """All rows as aligned columns; bytes in MiB."""
    keys = [k for k in _COLUMNS if any(row.get(k) is not None for row in rows)]
    cells = [[_COLUMNS[key][0] for key in keys]]
    for row in rows:
        values = [(row.get(key), _COLUMNS[key][1]) for key in keys]
        cells.append(["-" if v is None else shown(v) for v, shown in values])
    return aligned(cells, _WORDS)


def draw_chart(rows: Sequence[Row], title: str, path: Path) -> None:
    """Write a bar chart: peak bytes of every row, or residuals of traced rows.

    Args:
        title: The first line of the picture. What all rows share stands below it.
        path: Where to; its suffix, one of CHARTS, is the format.
    """
    # Half a second, which a mistake in a flag need not wait for.
    import matplotlib
    from matplotlib.figure import Figure

    rows = [row for row in rows if "error" not in row]
    compiled = any("peak_bytes" in row for row in rows)
    texts = [settings_text(row).split(", ") for row in rows]
    shared = [part for part in texts[0] if all(part in text for text in texts)]
    labels = [", ".join(p for p in text if p not in shared) for text in texts]
    whole = [row["peak_bytes" if compiled else "residual_bytes"] / _MIB for row in rows]
    # The parts of a refused program are not known.
    temp = [row.get("temp_bytes", 0) / _MIB for row in rows]
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "nas_jax", "font.size": 8.0}
    style |= {"text.parse_math": False, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(8.0, 1.5 + 0.3 * len(rows)), layout="constrained")
        axes, places = figure.subplots(), range(len(rows))
        said = "arguments and results" if compiled else "kept for the backward pass"
        bars = axes.barh(places, whole, color="#a9b6c8", height=0.7, label=said)
        axes.bar_label(bars, [_number(value) for value in whole], padding=4)
        if any(temp):
            said = "temporaries: activations, gradients"
            axes.barh(places, temp, color="#3566a8", height=0.7, label=said)
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(whole))
        axes.set_xlabel("peak, MiB" if compiled else "residuals, MiB")
        axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(f"{title}\n{', '.join(shared)}", fontsize=9)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, reverse=True)
        temporary = path.with_name(f".{path.name}.tmp")
        kind = path.suffix.removeprefix(".")
        stable: Any = {"Date": None} if kind == "svg" else None
        figure.savefig(temporary, format=kind, dpi=150, metadata=stable)
    os.replace(temporary, path)
