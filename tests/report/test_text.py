"""The terminal summary, the figures and how numbers are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nas_jax.report import summary_text
from nas_jax.report.artefacts import Artefacts, Summary
from nas_jax.report.formats import (
    change,
    count,
    duration,
    mebibytes,
    score,
    tick_texts,
    wilson_interval,
)
from nas_jax.report.logs import LogRow
from nas_jax.report.page import best_note
from nas_jax.report.text import final_accuracy, stages


def test_summary_has_the_headline_and_the_genotype(finished: Path) -> None:
    text = summary_text(finished)
    assert text.isascii() and text.endswith("\n")
    assert text.splitlines()[0] == "digits_darts"
    for shown in (
        "98.1% (353 of 360 images",
        "1,797 images (digits; 1,437 for training, 360 to test; 10 classes; 8 x 8 x 1)",
        "238,474",
        "112 of 224",
        "5,005 -> 772 MiB (-85%",
        "36 min 2 s",
    ):
        assert shown in " ".join(text.split())
    genotype = json.loads((finished / "genotype.json").read_text("utf-8"))["text"]
    assert f"genotype          {genotype}\n" in text
    wrapped = [line for line in text.splitlines() if "Genotype(" not in line]
    assert max(map(len, wrapped)) <= 88


def test_summary_of_an_empty_directory(tmp_path: Path) -> None:
    assert summary_text(tmp_path) == "experiment\n  no stage has finished yet\n"


def test_summary_prints_no_control_characters(workdir: Path) -> None:
    path = workdir / "summary.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["name"] = "\x1b[31mred\nline"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert summary_text(workdir).startswith("?[31mred?line\n")


def test_stages_add_up_to_the_total() -> None:
    seconds = {"prune": 1.0, "search": 3.0, "total": 8.0}
    summary = Summary("", None, None, None, None, "", seconds)
    found = [(s.name, s.seconds, s.share) for s in stages(Artefacts(summary=summary))]
    expected = [("prune", 1.0, 0.125), ("search", 3.0, 0.375), ("other", 4.0, 0.5)]
    assert found == expected


def logged(*accuracies: float) -> tuple[LogRow, ...]:
    return tuple(
        LogRow(i, {"epoch": float(i), "test_accuracy": a})
        for i, a in enumerate(accuracies, start=1)
    )


def test_accuracy_falls_back_on_the_last_logged_one() -> None:
    assert final_accuracy(Artefacts(retrain=logged(0.5, 0.9, 0.8))) == 0.8
    assert final_accuracy(Artefacts()) is None


def test_page_says_when_an_earlier_epoch_was_better() -> None:
    note = best_note(Artefacts(retrain=logged(0.5, 0.9, 0.8)))
    assert note.startswith("The best epoch on the test set was 2 with 90.0%;")
    assert best_note(Artefacts(retrain=logged(0.5, 0.8, 0.8))) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.44, "8.4 s"),
        (59.96, "1 min"),
        (192, "3 min 12 s"),
        (3599.7, "1 h"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_as_text() -> None:
    assert mebibytes(5005 * 2**20) == "5,005 MiB"
    assert mebibytes(2**19) == "0.50 MiB"
    assert count(41234) == "41,234" and count(3349342) == "3.35 M"
    assert change(100, 15) == "−85%" and change(100, 101) == "+1.0%"
    assert change(0, 1) == "n/a"
    assert score(-0.01234) == "−0.0123" and score(None) == "–"


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([0, 0.5, 1], ["0", "0.5", "1"]),
        ([-20, 0, 20], ["−20", "0", "20"]),
        ([0.0625], ["0.0625"]),
        ([1.2345, 1.2346], ["1.2345", "1.2346"]),
        ([0.001, 0.0015], ["0.001", "0.0015"]),
        ([1e9, 1e9 + 0.5], ["1000000000", "1000000000.5"]),
        ([1e30, 2e30], ["1e+30", "2e+30"]),
        ([], []),
    ],
)
def test_labels_of_ticks(ticks: list[float], texts: list[str]) -> None:
    assert tick_texts(ticks) == texts


def test_wilson_interval_of_a_worked_example() -> None:
    # p = 0.5, n = 100: the centre is 0.5, half the width is
    # 1.96 sqrt(0.0025 + 1.96^2 / 40000) / (1 + 1.96^2 / 100) = 0.09617.
    low, high = wilson_interval(0.5, 100)
    assert (low, high) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson_interval(1.0, 10)[1] == pytest.approx(1.0)
