"""The logs of search and retraining: a damaged row is left out, the others stand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from nas_jax.errors import WorkdirError
from nas_jax.report.fields import Field, read_json_lines
from nas_jax.report.values import optional_text


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

    Attributes:
        digests: Of what its rows were made from; empty text for a row that does not
            record it.
        damaged: Rows that were left out.
    """

    digests: frozenset[str]
    damaged: int


def read_search(path: Path) -> tuple[SearchLog | None, Origin]:
    """Reads search.jsonl; None where there is no row.

    Raises:
      WorkdirError: rows have alphas of different shapes; names the line.
    """
    found, damaged = read_json_lines(path, _search_row)
    shapes = [_shape(alphas) for _, _, alphas in found]
    for (row, _, _), shape in zip(found, shapes, strict=True):
        if shape != shapes[0]:
            raise WorkdirError(
                f"{row['alphas'].where()} has another shape than the first row's, so "
                "they are of two searches; search again in a new --workdir"
            )
    origin = _origin([row for row, _, _ in found], damaged)
    if not found:
        return None, origin
    rows = _by_step(tuple(logged for _, logged, _ in found))
    alphas = {logged.step: alphas for _, logged, alphas in found}
    return SearchLog(rows, tuple(alphas[row.step] for row in rows)), origin


def read_retraining(path: Path) -> tuple[tuple[LogRow, ...] | None, Origin]:
    """Reads retrain.jsonl; None where there is no row."""
    found, damaged = read_json_lines(path, lambda row: (row, _log_row(row)))
    rows = _by_step(tuple(logged for _, logged in found))
    return rows or None, _origin([row for row, _ in found], damaged)


Alphas = dict[str, tuple[tuple[float, ...], ...]]


def _search_row(row: Field) -> tuple[Field, LogRow, Alphas]:
    return row, _log_row(row), _alphas(row)


def _log_row(row: Field) -> LogRow:
    values = {
        key: member.number()
        for key, member in row.items()
        if key not in ("step", "alphas", "made_from") and member.value is not None
    }
    return LogRow(row["step"].integer(), values)


def _probability(field: Field) -> float:
    """A probability, where strict JSON has null for NaN."""
    return math.nan if field.value is None else field.number()


def _alphas(row: Field) -> Alphas:
    return {
        cell: tuple(
            tuple(_probability(member) for member in edge.elements())
            for edge in edges.elements()
        )
        for cell, edges in row["alphas"].items()
    }


def _shape(alphas: Alphas) -> dict[str, list[int]]:
    return {name: [len(edge) for edge in edges] for name, edges in alphas.items()}


def _by_step(rows: tuple[LogRow, ...]) -> tuple[LogRow, ...]:
    """One row a step, by step; a run that was resumed repeats some, the last wins."""
    merged: dict[int, dict[str, float]] = {}
    for row in rows:
        merged[row.step] = {**merged.get(row.step, {}), **row.values}
    return tuple(LogRow(step, merged[step]) for step in sorted(merged))


def _origin(rows: list[Field], damaged: int) -> Origin:
    digests = frozenset(optional_text(row.get("made_from")) for row in rows)
    return Origin(digests, damaged)
