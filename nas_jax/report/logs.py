"""The logs of search and retraining: a damaged row is left out, the others stand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas_jax.artefacts import from_json
from nas_jax.errors import WorkdirError
from nas_jax.identity import FIELD

T = TypeVar("T")


@dataclass(frozen=True)
class LogRow:
    """One logged step: every finite or NaN number of its row by name."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class SearchLog:
    """search.jsonl; `alphas[i]` is row i's `{cell: [E, O] probabilities}`."""

    rows: tuple[LogRow, ...]
    alphas: tuple[dict[str, tuple[tuple[float, ...], ...]], ...]


@dataclass(frozen=True)
class Origin:
    """What a log tells beside its numbers.

    `digests` are of what its rows were made from, empty text for a row that does not
    record it; `damaged` rows were left out.
    """

    digests: frozenset[str]
    damaged: int


def read_search(path: Path) -> tuple[SearchLog | None, Origin]:
    """Reads search.jsonl; None where there is no row.

    Raises:
      WorkdirError: rows have alphas of different shapes; names the line.
    """
    found, origin = _read(path, lambda row: (_log_row(row), _alphas(row)))
    first = None
    for number, (_, alphas) in found:
        shape = {name: [*map(len, edges)] for name, edges in alphas.items()}
        first = first or shape
        if shape != first:
            raise WorkdirError(
                f"{path.name}, line {number}: alphas has another shape than the first "
                "row's, so they are of two searches; search again in a new --workdir"
            )
    if not found:
        return None, origin
    rows = _by_step([row for _, (row, _) in found])
    last = {row.step: alphas for _, (row, alphas) in found}
    return SearchLog(rows, tuple(last[row.step] for row in rows)), origin


def read_retraining(path: Path) -> tuple[tuple[LogRow, ...] | None, Origin]:
    """Reads retrain.jsonl; None where there is no row."""
    found, origin = _read(path, _log_row)
    return _by_step([row for _, row in found]) or None, origin


Alphas = dict[str, tuple[tuple[float, ...], ...]]


def _read(
    path: Path, build: Callable[[dict[str, Any]], T]
) -> tuple[list[tuple[int, T]], Origin]:
    """What `build` makes of each row of a log, by line; it raises for a damaged one."""
    rows, digests, damaged = [], set(), 0
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = from_json(dict[str, Any], json.loads(line), path.name)
            digest = from_json(str, row.get(FIELD) or "", path.name)
            rows.append((number, build(row)))
            digests.add(digest)
        # ValueError: it is no JSON, or no UTF-8 text.
        except (ValueError, KeyError, WorkdirError):
            damaged += 1
    return rows, Origin(frozenset(digests), damaged)


def _log_row(row: dict[str, Any]) -> LogRow:
    values = {
        key: float(from_json(float, value, "", key))
        for key, value in row.items()
        if key not in ("step", "alphas", FIELD) and value is not None
    }
    return LogRow(from_json(int, row["step"], "", "step"), values)


def _alphas(row: dict[str, Any]) -> Alphas:
    """Probabilities; strict JSON has null for NaN."""
    stored = dict[str, tuple[tuple[float | None, ...], ...]]
    found = from_json(stored, row["alphas"], "", "alphas")

    def shares(edge: tuple[float | None, ...]) -> tuple[float, ...]:
        return tuple(math.nan if share is None else share for share in edge)

    return {cell: tuple(map(shares, edges)) for cell, edges in found.items()}


def _by_step(rows: list[LogRow]) -> tuple[LogRow, ...]:
    """One row a step, by step; a run that was resumed repeats some, the last wins."""
    merged: dict[int, dict[str, float]] = {}
    for row in rows:
        merged[row.step] = {**merged.get(row.step, {}), **row.values}
    return tuple(LogRow(step, merged[step]) for step in sorted(merged))
