"""NASLib's published scores, and how ours agree with them."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import write_text
from nas_jax.spaces import Genotype, get_space
from nas_jax.tabular import spearman

FAILED = -1e8
"""What NASLib writes where a proxy failed."""
DARTS_OPS = get_space("darts").cells[0].selectable
"""As NASLib numbers the operations of the DARTS space in `net`: in DARTS' order."""
Scores = Mapping[str, Mapping[str, float]]
"""Numbers by architecture, then by name."""


def darts_genotype(net: str) -> str:
    """NASLib's `net`, eight pairs (state, operation) a cell, as a genotype is written.

    Raises:
        ValueError, SyntaxError, IndexError: It is none.
    """
    cells = []
    for name, pairs in zip(("normal", "reduce"), ast.literal_eval(net), strict=True):
        genes = [(DARTS_OPS[op], state) for state, op in pairs]
        cells += [f"{name}={genes}", f"{name}_concat=range(2, 6)"]
    return str(Genotype.parse(get_space("darts"), f"Genotype({', '.join(cells)})"))


def read_naslib(path: str) -> dict[str, dict[str, float]]:
    """NASLib's scores and accuracies; NaN where a proxy failed."""
    opened = gzip.open if path.endswith(".gz") else open
    found = {}
    with opened(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if "net" in row:
                name = darts_genotype(row.pop("net"))
            else:
                name = str(
                    Genotype.parse(get_space("nasbench201"), row.pop("arch_str"))
                )
            numbers = {key: float(value) for key, value in row.items() if value}
            found[name] = {
                k: math.nan if v == FAILED else v for k, v in numbers.items()
            }
    return found


def read_scores(paths: Sequence[str]) -> dict[str, dict[str, float]]:
    """Our scores; NaN where a proxy failed."""
    found: dict[str, dict[str, float]] = {}
    for path in paths:
        for row in json.loads(Path(path).read_text(encoding="utf-8"))["rows"]:
            numbers = {
                k: math.nan if v is None else v for k, v in row["scores"].items()
            }
            found.setdefault(row["architecture"], {}).update(numbers)
    return found


def compare(
    ours: Scores, naslib: Scores, accuracies: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row for each proxy of ours: Spearman's rho over what both sides have.

    It is None where fewer than three architectures are left, or one side is all ties.

    Args:
        ours: Our scores.
        naslib: NASLib's; without a proxy or an architecture there is no comparison.
        accuracies: By architecture.
    """
    names = [name for name in ours if name in accuracies]
    accuracy = np.array([accuracies[name] for name in names])

    def column(scores: Scores, proxy: str) -> np.ndarray:
        return np.array([scores.get(n, {}).get(proxy, math.nan) for n in names])

    def rho(x: np.ndarray, y: np.ndarray) -> float | None:
        found = spearman(x, y, samples=1)
        return found.value if found.used > 2 and math.isfinite(found.value) else None

    rows = []
    for proxy in sorted({proxy for scores in ours.values() for proxy in scores}):
        mine, theirs = column(ours, proxy), column(naslib, proxy)
        rows.append(
            {
                "proxy": proxy,
                "architectures": len(names),
                "failed": sum(proxy in ours[n] for n in names)
                - int(np.isfinite(mine).sum()),
                "with_naslib": rho(mine, theirs),
                "with_accuracy": rho(mine, accuracy),
                "naslib_with_accuracy": rho(theirs, accuracy),
            }
        )
    return rows


def write_architectures(path: str, naslib: Scores, num: int, seed: int) -> None:
    """Some architectures of a file, drawn without replacement, one a line."""
    names = list(naslib)
    if num:
        chosen = np.random.default_rng(seed).choice(len(names), num, replace=False)
        names = [names[i] for i in chosen]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arch_str", "val_accuracy"])
    writer.writerows(
        [name, naslib[name].get("val_accuracy", math.nan)] for name in names
    )
    write_text(path, text.getvalue())
