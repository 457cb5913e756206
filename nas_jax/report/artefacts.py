"""The artefacts of a working directory, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas_jax.errors import WorkdirError
from nas_jax.report.fields import Field, read_json, read_json_lines
from nas_jax.report.values import (
    members,
    numbers,
    optional_integer,
    optional_text,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """One row of prune.json: an operation, its scores and what became of it.

    Attributes:
        score: What it was kept or dropped for, higher is better; None where it was not
            scored or the score is not finite.
        score_std: Standard deviation of the score over repeats.
        scores: Each proxy's own figure; None where it is not finite.
        scores_std: Its standard deviation over repeats.
        round: The round that dropped it, or that scored it last, from 1; 0 for none.
        margin: Distance to the nearest score of the same edge and round with the other
            fate; None where there is none.
        reason: Why it has no score.
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
    scores_std: dict[str, float | None]
    round: int
    margin: float | None
    reason: str


@dataclass(frozen=True)
class Ranker:
    """A proxy, and the network and batch that it scored.

    `norm` is what batch normalisation did; empty for what the proxy's source says.
    """

    proxy: str
    network: dict[str, Any]
    batch_size: int
    norm: str


@dataclass(frozen=True)
class Budget:
    """The bytes a search step might need on a device, and those that it needs now."""

    allowed: int
    target: str
    needed: int


@dataclass(frozen=True)
class Pruning:
    """prune.json; it stopped at a level, at `keep` operations an edge or a budget."""

    space: str
    strategy: str
    level: float | None
    keep: int | None
    budget: Budget | None
    min_parametric: int
    kept: int
    total: int
    proxies: tuple[str, ...]
    rankers: tuple[Ranker, ...]
    repeats: int
    rounds: int
    candidates: int
    warnings: tuple[str, ...]
    seconds: dict[str, float]
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


def _figures(field: Field, proxies: tuple[str, ...]) -> dict[str, float | None]:
    """Numbers by proxy; strict JSON has null for one that is not finite."""
    for key, member in field.items():
        if key not in proxies:
            raise member.error(f"is of no proxy; there are {proxies}")
    return {key: _number(field.get(key)) for key in field.value}


def _operation(row: Field, proxies: tuple[str, ...], rounds: int) -> Operation:
    operation = Operation(
        cell=row["cell"].text(),
        edge=row["edge"].integer(),
        source=row["source"].integer(),
        target=row["target"].integer(),
        name=row["operation"].text(),
        kept=row["kept"].flag(),
        score=_number(row.get("score")),
        score_std=_number(row.get("score_std")),
        scores=_figures(row["scores"], proxies),
        scores_std=_figures(row["scores_std"], proxies),
        round=row["round"].integer(),
        margin=_number(row.get("margin")),
        reason=optional_text(row.get("reason")),
    )
    if operation.round > rounds:
        raise row["round"].error(f"must be at most {rounds}, the number of rounds")
    if operation.score is not None and not operation.round:
        raise row["round"].error("must be 1 or more, because there is a score")
    if (operation.margin or 0.0) < 0:
        raise row["margin"].error("must be a distance, 0 or more")
    return operation


def _ranker(field: Field) -> Ranker:
    return Ranker(
        proxy=field["proxy"].text(),
        network=members(field["network"]),
        batch_size=field["batch_size"].integer(),
        norm=optional_text(field.get("norm")),
    )


def _budget(root: Field) -> Budget | None:
    if root.get("budget_bytes") is None:
        return None
    return Budget(
        allowed=root["budget_bytes"].integer(),
        target=root["budget_target"].text(),
        needed=root["step_bytes"].integer(),
    )


def _pruning(root: Field) -> Pruning:
    proxies = tuple(proxy.text() for proxy in root["proxies"].elements())
    rankers = tuple(_ranker(ranker) for ranker in root["rankers"].elements())
    if proxies != tuple(ranker.proxy for ranker in rankers):
        raise root["rankers"].error("must be one for each of the proxies, in order")
    rounds = root["rounds"].integer()
    operations = tuple(
        _operation(row, proxies, rounds) for row in root["operations"].elements()
    )
    pruning = Pruning(
        space=root["space"].text(),
        strategy=root["strategy"].text(),
        level=_number(root.get("level")),
        keep=optional_integer(root.get("keep")),
        budget=_budget(root),
        min_parametric=root["min_parametric"].integer(),
        kept=root["kept"].integer(),
        total=root["total"].integer(),
        proxies=proxies,
        rankers=rankers,
        repeats=root["repeats"].integer(),
        rounds=rounds,
        candidates=root["candidates"].integer(),
        warnings=tuple(warning.text() for warning in root["warnings"].elements()),
        seconds=numbers(root["seconds"]),
        peak_memory_bytes=_number(root.get("peak_memory_bytes")),
        operations=operations,
    )
    if pruning.total != len(operations):
        raise root["total"].error(f"must be the {len(operations)} operations listed")
    if (pruning.level, pruning.keep, pruning.budget) == (None, None, None):
        raise root["level"].error("is null, and there is no keep or budget either")
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
        parameters=optional_integer(root.get("parameters")),
    )


def _memory(root: Field) -> Memory:
    for side in ("unpruned", "pruned"):
        root[side]["peak_bytes"].integer()
    sizes = ("batch_size", "channels", "layers")
    return Memory(
        target=root["target"].text(),
        dtype=root["dtype"].text(),
        sizes={key: root[key].integer() for key in sizes},
        unpruned=numbers(root["unpruned"]),
        pruned=numbers(root["pruned"]),
    )


def _summary(root: Field) -> Summary:
    seconds = root.get("seconds")
    return Summary(
        name=optional_text(root.get("name")),
        seed=optional_integer(root.get("seed")),
        test_accuracy=_number(root.get("test_accuracy")),
        num_test=optional_integer(root.get("num_test")),
        parameters=optional_integer(root.get("parameters")),
        genotype=optional_text(root.get("genotype")),
        seconds={} if seconds is None else numbers(seconds),
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
        config=_one(workdir / "config.json", members),
        environment=_one(workdir / "environment.json", members),
        pruning=_one(workdir / "prune.json", _pruning),
        search=_many(workdir / "search.jsonl", _search),
        genotype=_one(workdir / "genotype.json", _genotype),
        retrain=_many(workdir / "retrain.jsonl", _retrain),
        memory=_one(workdir / "memory.json", _memory),
        summary=_one(workdir / "summary.json", _summary),
    )
