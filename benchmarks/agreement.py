"""How our scores agree with NASLib's and with accuracy: the tables of docs/proxies.md.

    python -m benchmarks.agreement --naslib=nb201_zc_proxies.csv --num=304 \\
        --architectures=archs.csv
    nas-jax score --archs=archs.csv --proxies=nwot,snip --json=scores.json ...
    python -m benchmarks.agreement --naslib=nb201_zc_proxies.csv --scores=scores.json \\
        --table=nb201_cifar10.csv.gz --column=c10_test

`--naslib` is a file of NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv
2210.03230): a column for each proxy, and one with the architecture, `arch_str` in
NAS-Bench-201 and `net` in the DARTS space, where `val_accuracy` is the surrogate's.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from nas_jax.spaces import Genotype, get_space
from nas_jax.tabular import load_table, spearman

FLAGS = flags.FLAGS
flags.DEFINE_string("naslib", None, "CSV file of NASLib's scores, plain or .gz.")
flags.DEFINE_string(
    "architectures", "", "CSV file to write, for nas-jax score --archs."
)
flags.DEFINE_integer("num", 0, "Architectures to draw for it; 0 is all.")
flags.DEFINE_integer("seed", 0, "Draws them.")
flags.DEFINE_list("scores", [], "JSON files of nas-jax score.")
flags.DEFINE_string("table", "", "CSV file of accuracies; empty is --naslib's own.")
flags.DEFINE_string("column", "val_accuracy", "Its column with the accuracy.")
flags.DEFINE_string("out", "", "JSON file to write, one object for each row.")
flags.mark_flag_as_required("naslib")

FAILED = -1e8
"""What NASLib writes where a proxy failed."""
# As NASLib numbers the operations of the DARTS space in `net`.
DARTS_OPS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
Scores = Mapping[str, Mapping[str, float]]
"""Numbers by architecture, then by name."""


def darts_genotype(net: str) -> str:
    """NASLib's `net`, eight pairs (state, operation) a cell, as a genotype is written.

    Raises:
        ValueError: It is none.
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
        both = np.isfinite(x) & np.isfinite(y)
        return spearman(x[both], y[both], samples=1).value if both.sum() > 2 else None

    rows = []
    for proxy in sorted({proxy for scores in ours.values() for proxy in scores}):
        mine, theirs = column(ours, proxy), column(naslib, proxy)
        rows.append(
            {
                "proxy": proxy,
                "architectures": len(names),
                "failed": int(np.isnan(mine).sum()),
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
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "val_accuracy"])
        writer.writerows(
            [name, naslib[name].get("val_accuracy", math.nan)] for name in names
        )


def main(argv: Sequence[str]) -> None:
    """Writes architectures, or prints a table in Markdown."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    naslib = read_naslib(FLAGS.naslib)
    if FLAGS.architectures:
        write_architectures(FLAGS.architectures, naslib, FLAGS.num, FLAGS.seed)
    if not FLAGS.scores:
        return
    if FLAGS.table:
        table = load_table(FLAGS.table, columns=[FLAGS.column])
        column = table.columns[FLAGS.column].tolist()
        accuracies = dict(zip(table.architectures, column, strict=True))
    else:
        accuracies = {name: row[FLAGS.column] for name, row in naslib.items()}
    rows = compare(read_scores(FLAGS.scores), naslib, accuracies)
    print("| proxy | failed | ours with NASLib | ours with accuracy | NASLib's |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        keys = ("with_naslib", "with_accuracy", "naslib_with_accuracy")
        cells = ["" if row[key] is None else f"{row[key]:.4f}" for key in keys]
        print(f"| {row['proxy']} | {row['failed']} | {' | '.join(cells)} |")
    if FLAGS.out:
        unfinished = Path(f"{FLAGS.out}.tmp")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(FLAGS.out)


if __name__ == "__main__":
    sys.exit(app.run(main))
