"""What pruning saves: the memory of the search step before and after it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax

from nas_jax.cli.stages import making
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.cli.stages.search import algorithm, search_step
from nas_jax.spaces import SpaceMask


def memory(experiment: Experiment, mask: SpaceMask) -> dict[str, Any]:
    """Memory of the search step before and after pruning; writes memory.json.

    A step that did not run here is compiled for this alone, and never run.
    """
    config, workdir = experiment.config.search, experiment.workdir
    made = making.measuring(experiment, mask)
    stored = workdir.read_artefact("memory.json", made)
    if stored is not None:
        return stored
    started = time.perf_counter()
    platform = jax.default_backend()
    searched = workdir.read_json("genotype.json")
    # Bytes of two compilers say nothing about pruning.
    pruned = searched["memory"] if searched["platform"] == platform else None
    pruned = pruned or _step_memory(experiment, mask)
    same = mask == experiment.start
    report = {
        "target": platform,
        "unpruned": pruned if same else _step_memory(experiment, experiment.start),
        "pruned": pruned,
        "batch_size": config.batch_size,
        "channels": config.channels,
        "layers": config.layers,
        "remat": config.remat,
        "dtype": config.dtype,
        "seconds": time.perf_counter() - started,
    }
    workdir.write_artefact("memory.json", report, made)
    return report


def _step_memory(experiment: Experiment, mask: SpaceMask) -> dict[str, Any]:
    darts, _ = algorithm(experiment, mask, 1)
    return dataclasses.asdict(search_step(experiment, darts).memory)
