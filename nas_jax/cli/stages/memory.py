"""What pruning saves: the memory of the search step before and after it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax

from nas_jax.cli.stages.experiment import Experiment
from nas_jax.cli.stages.search import algorithm, search_step
from nas_jax.spaces import SpaceMask


def memory(experiment: Experiment, mask: SpaceMask) -> dict[str, Any]:
    """Memory of the search step before and after pruning; writes memory.json.

    The unpruned step is compiled for this alone, and never run.
    """
    config, workdir = experiment.config.search, experiment.workdir
    if workdir.has("memory.json"):
        stored: dict[str, Any] = workdir.read_json("memory.json")
        return stored
    started = time.perf_counter()
    pruned = workdir.read_json("genotype.json")["memory"]
    unpruned = pruned
    if mask != experiment.start:
        darts, _ = algorithm(experiment, experiment.start, 1)
        unpruned = dataclasses.asdict(search_step(experiment, darts).memory)
    report = {
        "target": jax.devices()[0].platform,
        "unpruned": unpruned,
        "pruned": pruned,
        "batch_size": config.batch_size,
        "channels": config.channels,
        "layers": config.layers,
        "remat": config.remat,
        "dtype": config.dtype,
        "seconds": time.perf_counter() - started,
    }
    workdir.write_json("memory.json", report)
    return report
