"""Agreement with NASLib: its files are read, and ranks are compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import naslib
from nas_jax.spaces import Genotype, darts_space

NET = (
    "[[(0, 4), (1, 3), (0, 2), (2, 3), (2, 3), (0, 3), (2, 6), (3, 5)], "
    "[(0, 3), (1, 3), (1, 1), (0, 5), (2, 3), (0, 2), (4, 4), (3, 1)]]"
)
FIRST = "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|none~2|"
SECOND = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"
THIRD = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_a_net_is_a_genotype() -> None:
    genotype = Genotype.parse(darts_space(), naslib.darts_genotype(NET))
    assert genotype.cells[0].genes[:3] == (
        ("sep_conv_5x5", 0),
        ("sep_conv_3x3", 1),
        ("skip_connect", 0),
    )
    assert genotype.cells[1].genes[-1] == ("avg_pool_3x3", 3)


def test_files_are_read_and_compared(tmp_path: Path) -> None:
    published = tmp_path / "naslib.csv"
    lines = [f"{FIRST},1,-1e8", f"{SECOND},3,5", f"{THIRD},2,4"]
    published.write_text("\n".join(["arch_str,snip,zen", *lines]) + "\n")
    scores = {FIRST: (10.0, 1.0), SECOND: (30.0, None), THIRD: (40.0, 2.0)}
    rows = [
        {"architecture": name, "scores": {"snip": snip, "zen": zen}, "failed": {}}
        for name, (snip, zen) in scores.items()
    ]
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"rows": rows}))
    read = naslib.read_naslib(str(published))
    assert math.isnan(read[FIRST]["zen"]) and read[SECOND] == {"snip": 3, "zen": 5}
    accuracies = {FIRST: 70.0, SECOND: 80.0, THIRD: 90.0}
    snip, zen = naslib.compare(naslib.read_scores([str(path)]), read, accuracies)
    # Ranks 1, 2, 3 of ours against 1, 3, 2: rho is 1 - 6 * 2 / (3 * 8).
    assert snip["with_naslib"] == pytest.approx(0.5)
    assert snip["with_accuracy"] == pytest.approx(1.0)
    assert snip["naslib_with_accuracy"] == pytest.approx(0.5)
    # One architecture is left that neither failed on.
    assert zen["failed"] == 1 and zen["with_naslib"] is None
    # Of a single value there is no correlation, and JSON has no NaN.
    tied = {name: {"snip": 1.0} for name in scores}
    (snip,) = naslib.compare(tied, read, accuracies)
    assert snip["with_naslib"] is None and snip["with_accuracy"] is None


def test_architectures_are_drawn_without_replacement(tmp_path: Path) -> None:
    names = {name: {"val_accuracy": 1.5} for name in (FIRST, SECOND, THIRD)}
    path = tmp_path / "archs.csv"
    naslib.write_architectures(str(path), names, 2, 0)
    header, *rows = path.read_text().splitlines()
    assert header == "arch_str,val_accuracy"
    assert len(set(rows)) == 2
    assert all(row.split(",")[0] in names and row.endswith(",1.5") for row in rows)
