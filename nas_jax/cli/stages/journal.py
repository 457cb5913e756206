"""Scores of a pruning that is under way, in a file."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

import numpy as np

from nas_jax.errors import WorkdirError
from nas_jax.metrics import JsonlWriter


class FileJournal:
    """Keeps the scores of each chunk of candidates in a JSONL file.

    A row is `{"step", "scores", "seconds"}`, its step the number of the chunk from 1.
    What is there when the file is opened is given back, so that a run that was killed
    scores only what is missing. Scores that are not finite come back as NaN.

    Attributes:
        earlier_seconds: Seconds of scoring that were given back.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file and reads what is there; a half-written last row is cut off.

        Raises:
            WorkdirError: The file cannot be read or written, or is of another kind.
        """
        rows = len(path.read_bytes().splitlines()) if path.exists() else 0
        self._writer = JsonlWriter(path, resume_step=rows)
        self._known: list[tuple[np.ndarray, float]] = []
        self.earlier_seconds = 0.0
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            try:
                scores = np.array(row["scores"], np.float64)
                self._known.append((scores, float(row["seconds"])))
            except (KeyError, TypeError, ValueError) as error:
                self._writer.close()
                raise WorkdirError(
                    f"{path}, line {len(self._known) + 1}: no scores of candidates; "
                    "remove the file, and they are computed again"
                ) from error

    def read(self, index: int) -> tuple[np.ndarray, float] | None:
        """Scores and seconds of a chunk; None if it has not been scored yet."""
        if index >= len(self._known):
            return None
        self.earlier_seconds += self._known[index][1]
        return self._known[index]

    def write(self, index: int, scores: np.ndarray, seconds: float) -> None:
        """Keeps the scores of a chunk."""
        self._writer.write(index + 1, {"scores": scores, "seconds": seconds})

    def __enter__(self) -> FileJournal:
        """Returns itself; the `with` block closes the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._writer.close()
