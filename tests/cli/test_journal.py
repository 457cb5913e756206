from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas_jax.cli.stages.journal import FileJournal
from nas_jax.errors import WorkdirError

FIRST = np.array([[1 / 3, np.nan], [np.inf, -2.5e300]])
SECOND = np.array([[5.0, 6.0], [7.0, 8.0]])


def test_scores_come_back_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "prune.jsonl"
    with FileJournal(path) as journal:
        assert journal.read(0) is None
        journal.write(0, FIRST, 1.5)
        journal.write(1, SECOND, 2.0)
    with FileJournal(path) as journal:
        scores, seconds = journal.read(0) or (None, None)
        assert seconds == 1.5 and scores is not None
        # What is not finite is a failed score either way.
        expected = np.where(np.isfinite(FIRST), FIRST, np.nan)
        np.testing.assert_array_equal(scores, expected)
        assert journal.earlier_seconds == 1.5
        known = journal.read(1)
        assert known is not None
        np.testing.assert_array_equal(known[0], SECOND)
        assert journal.read(2) is None
        assert journal.earlier_seconds == 3.5


def test_a_half_written_row_is_scored_again(tmp_path: Path) -> None:
    path = tmp_path / "prune.jsonl"
    with FileJournal(path) as journal:
        journal.write(0, FIRST, 1.0)
        journal.write(1, SECOND, 1.0)
    text = path.read_text()
    path.write_text(text[:-9])
    with FileJournal(path) as journal:
        assert journal.read(0) is not None
        assert journal.read(1) is None
        journal.write(1, SECOND, 1.0)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "row", ['{"step": 1}', '{"step": 1, "scores": 3, "seconds": "x"}']
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "prune.jsonl"
    path.write_text(row + "\n")
    with pytest.raises(WorkdirError, match=r"prune.jsonl, line 1: no scores .*remove"):
        FileJournal(path)
    assert path.read_text() == row + "\n"
