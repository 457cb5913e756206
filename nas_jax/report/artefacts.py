"""The artefacts of a working directory, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas_jax.errors import WorkdirError
from nas_jax.report.fields import Field, read_json, read_json_lines

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """One row of prune.json: an operation, its scores and what became of it.

    `score` is the sum over proxies of the relative change that removing the
    operation makes (arXiv 2505.13586, importance score), averaged over repeats;
    None when the operation was dropped unscored or its score is not finite.
    """

    cell: str
    edge: int
    source: int
    target: int
    name: str
    kept: bool
    score: float | None
    score_std: float | None
    scores: dict[str, float | None]
    reason: str


@dataclass(frozen=True)
class Pruning:
    """prune.json."""

    space: str
    strategy: str
    level: float
    kept: int
    total: int
    proxies: tuple[str, ...]
    seeds: tuple[int, ...]
    seconds: dict[str, float]
    network: dict[str, Any]
    peak_memory_bytes: float | None
    operations: tuple[Operation, ...]


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
class CellGenotype:
    """The chosen `(operation, source state)` pairs of a cell, and what it outputs."""

    edges: tuple[tuple[str, int], ...]
    concat: tuple[int, ...]


@dataclass(frozen=True)
class ChosenCells:
    """genotype.json."""

    space: str
    cells: dict[str, CellGenotype]
    text: str
    parameters: int | None


@dataclass(frozen=True)
class Memory:
    """memory.json: bytes of the compiled search step, by kind, before and after."""

    target: str
    dtype: str
    sizes: dict[str, int]
    unpruned: dict[str, float]
    pruned: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """summary.json."""

    name: str
    seed: int | None
    test_accuracy: float | None
    num_test: int | None
    parameters: int | None
    genotype: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Artefacts:
    """What a working directory holds; None stands for a missing artefact."""

    config: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    pruning: Pruning | None = None
    search: SearchLog | None = None
    genotype: ChosenCells | None = None
    retrain: tuple[LogRow, ...] | None = None
    memory: Memory | None = None
    summary: Summary | None = None


def finite(number: float | None) -> float | None:
    """The number, or None where it is missing, NaN or infinite."""
    return number if number is not None and math.isfinite(number) else None


def _number(field: Field | None) -> float | None:
    return None if field is None else finite(field.number())


def _integer(field: Field | None) -> int | None:
    return None if field is None else field.integer()


def _text(field: Field | None) -> str:
    return "" if field is None else field.text()


def _numbers(field: Field) -> dict[str, float]:
    """The members of an object that hold numbers; null members are left out."""
    return {
        key: member.number()
        for key, member in field.items()
        if member.value is not None
    }


def _object(root: Field) -> dict[str, Any]:
    return {key: member.value for key, member in root.items()}


def _operation(row: Field) -> Operation:
    scores = row.get("scores")
    return Operation(
        cell=row["cell"].text(),
        edge=row["edge"].integer(),
        source=row["source"].integer(),
        target=row["target"].integer(),
        name=row["operation"].text(),
        kept=row["kept"].flag(),
        score=_number(row.get("score")),
        score_std=_number(row.get("score_std")),
        scores={}
        if scores is None
        else {key: _number(scores.get(key)) for key in scores.value},
        reason=_text(row.get("reason")),
    )


def _pruning(root: Field) -> Pruning:
    operations = tuple(_operation(row) for row in root["operations"].elements())
    pruning = Pruning(
        space=root["space"].text(),
        strategy=root["strategy"].text(),
        level=root["level"].number(),
        kept=root["kept"].integer(),
        total=root["total"].integer(),
        proxies=tuple(proxy.text() for proxy in root["proxies"].elements()),
        seeds=tuple(seed.integer() for seed in root["seeds"].elements()),
        seconds=_numbers(root["seconds"]),
        network=_object(root["network"]),
        peak_memory_bytes=_number(root.get("peak_memory_bytes")),
        operations=operations,
    )
    if pruning.total != len(operations):
        raise root["total"].error(f"must be the {len(operations)} operations listed")
    marked = sum(operation.kept for operation in operations)
    if pruning.kept != marked:
        raise root["kept"].error(f"must be the {marked} operations marked as kept")
    return pruning


def _log_row(row: Field) -> LogRow:
    values = {
        key: member.number()
        for key, member in row.items()
        if key not in ("step", "alphas") and member.value is not None
    }
    return LogRow(row["step"].integer(), values)


def _probability(field: Field) -> float:
    """A probability, where strict JSON has null for NaN."""
    return math.nan if field.value is None else field.number()


def _alphas(row: Field) -> dict[str, tuple[tuple[float, ...], ...]]:
    return {
        cell: tuple(
            tuple(_probability(member) for member in edge.elements())
            for edge in edges.elements()
        )
        for cell, edges in row["alphas"].items()
    }


def _by_step(rows: tuple[LogRow, ...]) -> tuple[LogRow, ...]:
    """One row a step, by step; a run that was resumed repeats some, the last wins."""
    merged: dict[int, dict[str, float]] = {}
    for row in rows:
        merged[row.step] = {**merged.get(row.step, {}), **row.values}
    return tuple(LogRow(step, merged[step]) for step in sorted(merged))


def _search(fields: tuple[Field, ...]) -> SearchLog:
    alphas = {}
    shapes = []
    for row in fields:
        cells = alphas[row["step"].integer()] = _alphas(row)
        shapes.append({name: [len(e) for e in edges] for name, edges in cells.items()})
        if shapes[-1] != shapes[0]:
            raise row["alphas"].error("must have the shape of the first row's alphas")
    rows = _by_step(tuple(_log_row(row) for row in fields))
    return SearchLog(rows, tuple(alphas[row.step] for row in rows))


def _retrain(fields: tuple[Field, ...]) -> tuple[LogRow, ...]:
    return _by_step(tuple(_log_row(row) for row in fields))


def _choice(pair: Field) -> tuple[str, int]:
    if len(pair.elements()) != 2:
        raise pair.error("must be an [operation, source] pair")
    return pair[0].text(), pair[1].integer()


def _genotype(root: Field) -> ChosenCells:
    cells = {}
    for name, member in root["genotype"].items():
        if name.endswith("_concat"):
            continue
        concat = root["genotype"][f"{name}_concat"].elements()
        cells[name] = CellGenotype(
            edges=tuple(_choice(pair) for pair in member.elements()),
            concat=tuple(state.integer() for state in concat),
        )
    return ChosenCells(
        space=root["space"].text(),
        cells=cells,
        text=root["text"].text(),
        parameters=_integer(root.get("parameters")),
    )


def _memory(root: Field) -> Memory:
    for side in ("unpruned", "pruned"):
        root[side]["peak_bytes"].integer()
    sizes = ("batch_size", "channels", "layers")
    return Memory(
        target=root["target"].text(),
        dtype=root["dtype"].text(),
        sizes={key: root[key].integer() for key in sizes},
        unpruned=_numbers(root["unpruned"]),
        pruned=_numbers(root["pruned"]),
    )


def _summary(root: Field) -> Summary:
    seconds = root.get("seconds")
    return Summary(
        name=_text(root.get("name")),
        seed=_integer(root.get("seed")),
        test_accuracy=_number(root.get("test_accuracy")),
        num_test=_integer(root.get("num_test")),
        parameters=_integer(root.get("parameters")),
        genotype=_text(root.get("genotype")),
        seconds={} if seconds is None else _numbers(seconds),
    )


def _one(path: Path, build: Callable[[Field], T]) -> T | None:
    field = read_json(path)
    return None if field is None else build(field)


def _many(path: Path, build: Callable[[tuple[Field, ...]], T]) -> T | None:
    fields = read_json_lines(path)
    # A log without a row yet says no more than a log that does not exist.
    return build(fields) if fields else None


def read_artefacts(workdir: Path) -> Artefacts:
    """Reads every artefact that a working directory holds.

    Raises:
      WorkdirError: the directory does not exist, or an artefact is malformed; the
        message names the file and the line.
    """
    if not workdir.is_dir():
        raise WorkdirError(
            f"no working directory {str(workdir)!r}; 'nas-jax run' makes one"
        )
    return Artefacts(
        config=_one(workdir / "config.json", _object),
        environment=_one(workdir / "environment.json", _object),
        pruning=_one(workdir / "prune.json", _pruning),
        search=_many(workdir / "search.jsonl", _search),
        genotype=_one(workdir / "genotype.json", _genotype),
        retrain=_many(workdir / "retrain.jsonl", _retrain),
        memory=_one(workdir / "memory.json", _memory),
        summary=_one(workdir / "summary.json", _summary),
    )
