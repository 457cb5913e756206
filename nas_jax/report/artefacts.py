"""What a working directory holds, read together and checked against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas_jax.artefacts import (
    ChosenCells,
    Data,
    Memory,
    Pruning,
    Retraining,
    Summary,
    from_json,
    read,
    read_object,
)
from nas_jax.errors import WorkdirError
from nas_jax.report import consistency
from nas_jax.report.logs import LogRow, SearchLog, read_retraining, read_search


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


def read_artefacts(workdir: Path) -> Artefacts:
    """Reads every artefact that a working directory holds.

    Raises:
      WorkdirError: the directory does not exist, an artefact is malformed (the message
        names the file and the field), or artefacts do not belong together.
    """
    if not workdir.is_dir():
        raise WorkdirError(
            f"no working directory {str(workdir)!r}; 'nas-jax run' makes one"
        )
    config = read_object(workdir / "config.json")
    environment = read_object(workdir / "environment.json")
    images = (environment or {}).get("data")
    data = images and from_json(Data, images, "environment.json", "data")
    files = {
        "prune.json": (pruning := read(workdir / "prune.json", Pruning)),
        "genotype.json": (genotype := read(workdir / "genotype.json", ChosenCells)),
        "memory.json": (memory := read(workdir / "memory.json", Memory)),
        "retrain.json": read(workdir / "retrain.json", Retraining),
        "summary.json": (summary := read(workdir / "summary.json", Summary)),
    }
    search, searched = read_search(workdir / "search.jsonl")
    retrain, retrained = read_retraining(workdir / "retrain.jsonl")
    notes = consistency.check(
        {name: value for name, value in files.items() if value is not None},
        {"search.jsonl": searched, "retrain.jsonl": retrained},
        data.sha256 if data else "",
        config or {},
    )
    return Artefacts(
        config=config,
        environment=environment,
        pruning=pruning,
        search=search,
        genotype=genotype,
        retrain=retrain,
        memory=memory,
        summary=summary,
        data=data or None,
        notes=tuple(notes),
    )
