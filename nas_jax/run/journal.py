"""Scores of a pruning that is under way, in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from absl import logging

from nas_jax.identity import FIELD
from nas_jax.metrics import JsonlWriter, lines_in_words


class FileJournal:
    """Keeps the scores of each chunk of candidates in a JSONL file.

    A row is `{"step", "candidates", "scores", "seconds", "made_from"}`: its number from
    1, a digest of what was scored, by which it is found again, and the digest of the
    pruning. A run that was killed scores only what is missing; a damaged row counts as
    missing. Scores that are not finite come back as NaN.

    Attributes:
        earlier_seconds: Seconds of scoring that were given back.
    """

    def __init__(self, path: Path, made_from: str) -> None:
        """Opens the file and reads what is there.

        Args:
            path: The file.
            made_from: Digest of what the pruning is made from; rows of another one are
                passed over.

        Raises:
            WorkdirError: The file cannot be read or written.
        """
        self._writer = JsonlWriter(path, sys.maxsize, made_from)
        self._known: dict[str, tuple[np.ndarray, float]] = {}
        self._rows = 0
        self.earlier_seconds = 0.0
        damaged = []
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, row in enumerate(map(json.loads, lines), start=1):
            self._rows = row["step"]
            if row.get(FIELD) != made_from:
                continue
            try:
                scores = np.array(row["scores"], np.float64)
                known = scores, float(row["seconds"])
                self._known[str(row["candidates"])] = known
            except (KeyError, TypeError, ValueError):
                damaged.append(number)
        if damaged:
            logging.warning(
                "%s: %s no scores; what belongs there is scored again",
                path,
                lines_in_words(damaged),
            )

    def read(self, candidates: str) -> tuple[np.ndarray, float] | None:
        """Scores and seconds of a chunk; None if it has not been scored yet."""
        known = self._known.get(candidates)
        if known is not None:
            self.earlier_seconds += known[1]
        return known

    def write(self, candidates: str, scores: np.ndarray, seconds: float) -> None:
        """Keeps the scores of a chunk."""
        self._rows += 1
        self._writer.write(
            self._rows,
            {"candidates": candidates, "scores": scores, "seconds": seconds},
        )

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
