"""The artefacts of a working directory, read and checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from nas_jax.errors import WorkdirError
from nas_jax.report import consistency
from nas_jax.report.fields import Field, read_json
from nas_jax.report.logs import LogRow, SearchLog, read_retraining, read_search
from nas_jax.report.search_decision import SearchDecision, read_decision
from nas_jax.report.values import (
    members,
    numbers,
    optional_integer,
    optional_text,
)

T = TypeVar("T")

_LABELS = {"npz": "path", "folder": "path", "tfds": "name"}
"""What names the images of a source; the other sources are named by themselves."""


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
        offered: Whether pruning started with it; the others are no part of any figure.
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
    offered: bool = True


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
    decision: SearchDecision | None = None


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
class Data:
    """The images of a run, from environment.json; None for what is not recorded.

    Attributes:
        source: Kind of source, such as npz.
        label: Name of the file or folder, or of the tfds data set; empty for a source
            that needs none.
        image_shape: `(H, W, C)`; empty where it is not recorded.
    """

    source: str
    label: str
    num_train: int | None
    num_test: int | None
    num_classes: int | None
    image_shape: tuple[int, ...]


@dataclass(frozen=True)
class Artefacts:
    """What a working directory holds; None stands for a missing artefact.

    `notes` are sentences on what was left out and on what is not known of all that.
    """

    config: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None
    pruning: Pruning | None = None
    search: SearchLog | None = None
    genotype: ChosenCells | None = None
    retrain: tuple[LogRow, ...] | None = None
    memory: Memory | None = None
    summary: Summary | None = None
    data: Data | None = None
    notes: tuple[str, ...] = ()


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
    offered = row.get("offered")
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
        offered=offered is None or offered.flag(),
    )
    if operation.kept and not operation.offered:
        raise row["kept"].error("must be false, because pruning did not start with it")
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
    offered = sum(operation.offered for operation in operations)
    if pruning.total != offered:
        raise root["total"].error(
            f"must be the {offered} operations listed that pruning started with"
        )
    if (pruning.level, pruning.keep, pruning.budget) == (None, None, None):
        raise root["level"].error("is null, and there is no keep or budget either")
    marked = sum(operation.kept for operation in operations)
    if pruning.kept != marked:
        raise root["kept"].error(f"must be the {marked} operations marked as kept")
    return pruning


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
        decision=read_decision(root.get("decision")),
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


def _data(root: Field) -> Data | None:
    field = root.get("data")
    if field is None:
        return None
    source = optional_text(field.get("source"))
    label = optional_text(field.get(_LABELS.get(source, "")))
    shape = field.get("image_shape")
    return Data(
        source=source,
        label=label if source == "tfds" else PurePath(label).name,
        num_train=optional_integer(field.get("num_train")),
        num_test=optional_integer(field.get("num_test")),
        num_classes=optional_integer(field.get("num_classes")),
        image_shape=tuple(size.integer() for size in shape.elements()) if shape else (),
    )


def _built(root: Field | None, build: Callable[[Field], T]) -> T | None:
    return None if root is None else build(root)


def read_artefacts(workdir: Path) -> Artefacts:
    """Reads every artefact that a working directory holds.

    Damaged rows of logs are left out; `notes` of the result count them.

    Raises:
      WorkdirError: the directory does not exist, an artefact is malformed (the message
        names the file and the line), or artefacts do not belong together.
    """
    if not workdir.is_dir():
        raise WorkdirError(
            f"no working directory {str(workdir)!r}; 'nas-jax run' makes one"
        )
    names = ("config", "environment", "prune", "genotype", "memory", "summary")
    files = [f"{name}.json" for name in (*names, "retrain")]
    roots = {name: read_json(workdir / name) for name in files}
    search, searched = read_search(workdir / "search.jsonl")
    retrain, retrained = read_retraining(workdir / "retrain.jsonl")
    logs = {"search.jsonl": searched, "retrain.jsonl": retrained}
    notes = consistency.check(roots, logs)
    config, environment, pruning, genotype, memory, summary, _ = roots.values()
    return Artefacts(
        config=_built(config, members),
        environment=_built(environment, members),
        pruning=_built(pruning, _pruning),
        search=search,
        genotype=_built(genotype, _genotype),
        retrain=retrain,
        memory=_built(memory, _memory),
        summary=_built(summary, _summary),
        data=_built(environment, _data),
        notes=tuple(notes),
    )
