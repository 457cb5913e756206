"""Scores on disk: rows, failed scores, going on, and refusing what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.cli.score.results import Results
from nas_jax.errors import WorkdirError
from nas_jax.proxies.failed import NAN, OVERFLOW, UNDERFLOW

SETTINGS = {
    "space": "toy",
    "proxies": ["one", "two"],
    "num_classes": 10,
    "architectures_sha256": "a",
    "batch_sha256": "b",
}
NAMES = ["first", "second, with a comma", "third"]


def results(folder: Path, **changed: Any) -> Results:
    files = str(folder / "r.json"), str(folder / "r.csv")
    return Results({**SETTINGS, **changed}, NAMES, *files)


def written(folder: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = (folder / "r.json").read_text()
    value: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return value


def test_rows_and_failed_scores(tmp_path: Path) -> None:
    made = results(tmp_path)
    made.begin({"jax": "1"})
    made.add(np.array([[0.1, np.nan], [np.inf, -np.inf]], np.float32))
    made.write()
    value = written(tmp_path)
    assert value["settings"] == SETTINGS
    assert value["environment"] == {"jax": "1", "earlier": []}
    assert value["complete"] is False
    assert value["rows"] == [
        {
            "architecture": "first",
            # 0.1, though the float32 is 0.10000000149.
            "scores": {"one": 0.1, "two": None},
            "failed": {"two": NAN},
        },
        {
            "architecture": "second, with a comma",
            "scores": {"one": None, "two": None},
            "failed": {"one": OVERFLOW, "two": UNDERFLOW},
        },
    ]
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["arch_str", "one", "two"],
        ["first", "0.1", ""],
        ["second, with a comma", "", ""],
    ]
    np.testing.assert_array_equal(made.scores()["one"], [0.1, np.nan])


@pytest.mark.parametrize("number", [3e-45, 16777217.0, 1 / 3, -1.17549435e-38, 3e38])
def test_text_of_a_number_is_that_float32(tmp_path: Path, number: float) -> None:
    made = results(tmp_path)
    made.add(np.full((1, 2), number, np.float32))
    made.write()
    stored = written(tmp_path)["rows"][0]["scores"]["one"]
    assert np.float32(stored) == np.float32(number)


@pytest.mark.parametrize(
    ("number", "text"),
    # As a scorer gives them: a float32 in a float64 array, and two true float64.
    [(float(np.float32(0.1)), "0.1"), (1.6659e45, "1.6659e+45"), (1 / 3, str(1 / 3))],
)
def test_text_of_a_float64(tmp_path: Path, number: float, text: str) -> None:
    made = results(tmp_path)
    made.add(np.full((1, 2), number, np.float64))
    made.write()
    assert f'"one": {text}' in (tmp_path / "r.json").read_text()
    assert written(tmp_path)["rows"][0]["failed"] == {}


def test_going_on(tmp_path: Path) -> None:
    made = results(tmp_path)
    made.begin({"jax": "1"})
    made.header["score_seconds"] = 2.5
    made.add(np.array([[1, 2], [3, np.nan]], np.float32))
    made.write()
    again = results(tmp_path)
    assert again.rows == made.rows and again.left == 1
    assert again.header["score_seconds"] == 2.5
    again.begin({"jax": "2"})
    again.add(np.array([[5, 6]], np.float32))
    again.write()
    value = written(tmp_path)
    assert value["complete"] is True
    assert [row["architecture"] for row in value["rows"]] == NAMES
    assert value["environment"] == {"jax": "2", "earlier": [{"jax": "1"}]}
    assert (tmp_path / "r.csv").read_text().splitlines()[1:] == [
        "first,1.0,2.0",
        '"second, with a comma",3.0,',
        "third,5.0,6.0",
    ]
    third = results(tmp_path)
    assert third.left == 0
    third.begin({"jax": "3"})
    earlier = third.header["environment"]["earlier"]
    assert [environment["jax"] for environment in earlier] == ["1", "2"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"space": "other"}, 'settings: space: "toy", now "other". Name another file'),
        ({"proxies": ["one"]}, 'proxies: ["one", "two"], now ["one"]. Name another'),
        # A digest only says that something is other: not where more is known.
        ({"space": "o", "batch_sha256": "c"}, 'settings: space: "toy", now "o". Name'),
        ({"num_classes": 5}, "num_classes: 10, now 5. Name another"),
        ({"batch_sha256": "c"}, "other settings: the images are others. Name another"),
        ({"architectures_sha256": "c"}, "settings: the architectures are others. Name"),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, changed: dict[str, Any], expected: str
) -> None:
    made = results(tmp_path)
    made.write()
    before = (tmp_path / "r.json").read_bytes()
    with pytest.raises(WorkdirError) as caught:
        results(tmp_path, **changed)
    assert expected in str(caught.value)
    assert f"--json={tmp_path / 'r.json'}" in str(caught.value)
    assert (tmp_path / "r.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"rows": []}', "\udcff"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WorkdirError, match="r.json is there, but it is no result of"):
        results(tmp_path)


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    made = results(tmp_path)
    made.begin({})
    made.add(np.ones((2, 2), np.float32))
    made.write()
    value = written(tmp_path)
    swapped = {**value, "rows": value["rows"][::-1]}
    lacking = json.loads(json.dumps(value))
    del lacking["rows"][0]["scores"]["two"]
    for wrong in (swapped, lacking, {**value, "rows": 3 * value["rows"]}):
        (tmp_path / "r.json").write_text(json.dumps(wrong))
        with pytest.raises(WorkdirError, match="has other rows than its settings say"):
            results(tmp_path)
