"""The journal of a pruning: rows are found by what they are of, and none is lost."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.identity import MadeFrom
from nas_jax.run.journal import FileJournal

MADE = MadeFrom({"seed": 1}).digest
OTHER = MadeFrom({"seed": 2}).digest
FIRST = np.array([[1 / 3, np.nan], [np.inf, -2.5e300]])
SECOND = np.array([[5.0, 6.0], [7.0, 8.0]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of the chunks a and b."""
    path = tmp_path / "prune.jsonl"
    with closing(FileJournal(path, MADE)) as journal:
        assert journal.read("a") is None
        journal.write("a", FIRST, 1.5)
        journal.write("b", SECOND, 2.0)
    return path


def known(path: Path, *names: str) -> list[bool]:
    with closing(FileJournal(path, MADE)) as journal:
        return [journal.read(name) is not None for name in names]


def test_scores_come_back_to_the_last_digit(path: Path) -> None:
    with closing(FileJournal(path, MADE)) as journal:
        scores, seconds = journal.read("a") or (None, None)
        assert seconds == 1.5 and scores is not None
        # What is not finite is a failed score either way.
        expected = np.where(np.isfinite(FIRST), FIRST, np.nan)
        np.testing.assert_array_equal(scores, expected)
        assert journal.earlier_seconds == 1.5
        found = journal.read("b")
        assert found is not None
        np.testing.assert_array_equal(found[0], SECOND)
        assert journal.read("c") is None
        assert journal.earlier_seconds == 3.5


def test_a_half_written_row_is_scored_again(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[:-9])
    with closing(FileJournal(path, MADE)) as journal:
        assert journal.read("a") is not None
        assert journal.read("b") is None
        journal.write("b", SECOND, 2.0)
    assert path.read_text() == text


@pytest.mark.parametrize("damage", ["{", "", "[1]", '{"step": 1, "scores": 3}', "x"])
def test_a_damaged_row_costs_that_row_alone(
    path: Path, damage: str, caplog: Any
) -> None:
    _, second = path.read_text().splitlines()
    if damage.startswith('{"step"'):
        damage = json.dumps({**json.loads(damage), "made_from": MADE})
    path.write_text(f"{damage}\n{second}\n")
    assert known(path, "a", "b") == [False, True]
    assert "line 1" in caplog.text


def test_order_of_rows_does_not_matter(path: Path) -> None:
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([rows[1], rows[0], rows[1], rows[0]]))
    with closing(FileJournal(path, MADE)) as journal:
        found = journal.read("b")
    assert found is not None
    np.testing.assert_array_equal(found[0], SECOND)


def test_rows_of_another_making_are_passed_over(path: Path) -> None:
    before = path.read_text()
    with closing(FileJournal(path, OTHER)) as journal:
        assert journal.read("a") is None
        journal.write("a", SECOND, 1.0)
    assert path.read_text().startswith(before)
    assert known(path, "a", "b") == [True, True]
