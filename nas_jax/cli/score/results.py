"""Scores on disk: written whole after every chunk, and gone on with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_jax.cli.score.files import COLUMN
from nas_jax.errors import WorkdirError
from nas_jax.jsonable import differences, dumps
from nas_jax.proxies import failures
from nas_jax.workdir import write_atomically

Row = Mapping[str, Any]

_DIGESTS = {
    "architectures_sha256": "the architectures are others",
    "batch_sha256": "the images are others",
}


class Results:
    """Rows of the architectures scored so far, and the files that hold them.

    Attributes:
        header: All that is written beside the rows.
        rows: `{"architecture", "scores", "failed"}` of the first architectures, in
            their order.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        architectures: Sequence[str],
        json_file: str,
        csv_file: str,
    ) -> None:
        """Goes on with a JSON file that is there; writes nothing yet.

        Args:
            settings: What decides the scores.
            json_file: For everything; empty for none.
            csv_file: For the scores alone; empty for none.

        Raises:
            WorkdirError: The JSON file holds scores of other settings, or is none of
                this command.
        """
        self.header: dict[str, Any] = {
            "settings": settings,
            "environment": None,
            "complete": False,
            "width": None,
            "devices": None,
            "compile_seconds": 0.0,
            "score_seconds": 0.0,
            "archs_per_second": None,
            "peak_memory_bytes": None,
            "correlations": None,
        }
        self.rows: list[Row] = []
        self._architectures = tuple(architectures)
        self._json, self._csv = Path(json_file), Path(csv_file)
        self._lines: list[str] = []
        self._records: list[str] = [_record([COLUMN, *settings["proxies"]])]
        if self._json.name and self._json.exists():
            self._resume()

    @property
    def left(self) -> int:
        """Number of architectures to score."""
        return len(self._architectures) - len(self.rows)

    @property
    def resumable(self) -> bool:
        """Whether another call can go on with what is written."""
        return bool(self._json.name)

    def begin(self, environment: Mapping[str, Any]) -> None:
        """Notes who computes the rows that follow; `earlier` lists those before."""
        before = self.header["environment"]
        earlier = [] if before is None else [*before.pop("earlier"), before]
        self.header["environment"] = {**environment, "earlier": earlier}

    def add(self, scores: np.ndarray) -> None:
        """Rows of the next architectures."""
        proxies = self.header["settings"]["proxies"]
        reasons = [failures(column) for column in scores.T]
        for values, why in zip(scores, zip(*reasons, strict=True), strict=True):
            failed = {n: w for n, w in zip(proxies, why, strict=True) if w is not None}
            numbers = {
                name: None if name in failed else _shortest(value)
                for name, value in zip(proxies, values, strict=True)
            }
            name = self._architectures[len(self.rows)]
            self._append({"architecture": name, "scores": numbers, "failed": failed})
        self.header["complete"] = not self.left

    def scores(self) -> dict[str, np.ndarray]:
        """Scores `[N]` by proxy, float64; NaN where it failed."""
        return {
            name: np.array([row["scores"][name] for row in self.rows], np.float64)
            for name in self.header["settings"]["proxies"]
        }

    def write(self) -> None:
        """Writes the files, each whole or not at all.

        Raises:
            WorkdirError: A file cannot be written; what was there is unchanged.
        """
        if self._json.name:
            # A row a line, encoded once: thousands are written again and again.
            head = dumps(self.header, indent=2).removesuffix("\n}")
            rows = ",\n".join(self._lines)
            _write(self._json, f'{head},\n  "rows": [\n{rows}\n  ]\n}}\n')
        if self._csv.name:
            _write(self._csv, "".join(self._records))

    def _append(self, row: Row) -> None:
        self.rows.append(row)
        self._lines.append(f"    {dumps(row)}")
        cells = ["" if v is None else repr(v) for v in row["scores"].values()]
        self._records.append(_record([row["architecture"], *cells]))

    def _resume(self) -> None:
        try:
            stored = json.loads(self._json.read_text(encoding="utf-8"))
            settings, rows = stored.pop("settings"), stored.pop("rows")
            known = {name: stored[name] for name in self.header if name != "settings"}
            names = [row["architecture"] for row in rows]
            proxies = [list(row["scores"]) for row in rows]
        except OSError as error:
            said = f"--json={self._json} cannot be read: {error.strerror}"
            raise WorkdirError(said) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WorkdirError(
                f"--json={self._json} is there, but it is no result of nas-jax score; "
                "name another file, or remove it"
            ) from error
        changed = _changed(settings, self.header["settings"])
        if changed:
            raise WorkdirError(
                f"--json={self._json} holds scores of other settings: "
                f"{'; '.join(changed)}. Name another file, or give the same settings "
                "to go on with it"
            )
        mine = self.header["settings"]["proxies"]
        if names != list(self._architectures[: len(names)]) or any(
            columns != mine for columns in proxies
        ):
            raise WorkdirError(
                f"--json={self._json} has other rows than its settings say; name "
                "another file, or remove it"
            )
        self.header |= known
        for row in rows:
            self._append(row)


def _changed(old: Any, new: Mapping[str, Any]) -> list[str]:
    """What differs between settings; digests only where nothing else does."""
    lines = differences(old, new)
    plain = [line for line in lines if line.partition(":")[0] not in _DIGESTS]
    return plain or [_DIGESTS[line.partition(":")[0]] for line in lines]


def _shortest(value: np.floating) -> float:
    """The number; of a float32 the one with the fewest digits that is the same float32.

    0.1, not 0.10000000149011612: most proxies compute in float32.
    """
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    return float(str(narrow)) if narrow == value else float(value)


def _record(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise WorkdirError(
            f"cannot write {path}: {error.strerror}; give a file that you may write "
            "to, on a disk with free space"
        ) from error
