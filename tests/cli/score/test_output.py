"""Tables of scores and of correlations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nas_jax.cli.score import output
from nas_jax.cli.tables import aligned
from nas_jax.jsonable import dumps


def test_numbers_of_a_table_are_aligned() -> None:
    cells = [["name", "n"], ["a", "100"], ["long", "7"]]
    text = aligned(cells, words=("name",))
    assert text == "name    n\na     100\nlong    7"


def test_the_first_scores_are_printed() -> None:
    row = {"architecture": "a", "scores": {"zen": 0.123456, "snip": None}}
    lines = output.scores_table(23 * [row], ["zen", "snip"]).splitlines()
    assert lines[0].split() == ["zen", "snip", "architecture"]
    assert lines[20].split() == ["20", "0.12346", "failed", "a"]
    assert lines[21:] == ["and 3 more; --json=FILE or --csv=FILE keeps them all"]


def test_comparison_by_hand() -> None:
    accuracies = np.array([10, 20, np.nan, 30, 40])
    scores = {
        "params": np.array([1.0, 2, 3, 4, np.nan]),
        # Ranks 4 3 1 2 of those whose accuracy is known: squared differences 9 1 4 4.
        "ntk_cond": np.array([9.0, 5, 0, 1, 2]),
    }
    compared = output.compare(scores, accuracies)
    params = compared["params"]["spearman"]
    assert (params.value, params.used, params.failed) == (pytest.approx(1), 3, 1)
    found = compared["ntk_cond"]["spearman"]
    assert found.value == pytest.approx(1 - 6 * 18 / (4 * 15))
    # 5 of 6 pairs are discordant.
    assert compared["ntk_cond"]["kendall"].value == pytest.approx(-4 / 6)
    lines = output.correlation_table(compared, 1, "test").splitlines()
    assert lines[0].split() == "proxy better Spearman Kendall used failed".split()
    assert lines[1].split()[:3] == ["params", "higher", "1.000"]
    assert lines[2].split()[:3] == ["ntk_cond", "lower", "-0.800"]
    assert lines[3] == "rank correlation with test, 95% intervals in brackets"
    assert lines[4] == "1 architectures have no test and are out"
    assert lines[1].split()[3:5] == ["(too", "few)"]
    assert lines[5] == "too few: an interval needs 4 architectures"


@pytest.mark.parametrize(
    ("column", "text", "note"),
    [
        ([1.0, 3, 2], "0.500 (too few)", "too few: an interval needs 4 architectures"),
        ([1.0, 2, 3, 4], "1.000 (no spread)", "no spread: every resample ranks alike"),
        ([np.nan] * 4, "undefined", "undefined: no two architectures are used"),
    ],
)
def test_a_correlation_without_an_interval(
    column: list[float], text: str, note: str
) -> None:
    accuracies = np.arange(len(column), dtype=np.float64)
    compared = output.compare({"params": np.array(column)}, accuracies)
    table = output.correlation_table(compared, 0, "test")
    row, *notes = table.splitlines()[1:]
    assert f" {text}  " in row and "[" not in row
    assert notes[0] == "rank correlation with test"
    assert notes[1].startswith(note)
    found = json.loads(dumps(compared))["params"]
    for name in ("spearman", "kendall"):
        assert found[name]["low"] is None and found[name]["high"] is None
        assert (found[name]["value"] is None) == (text == "undefined")
