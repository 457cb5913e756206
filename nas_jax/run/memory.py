"""What pruning saves: the memory of the search step before and after it."""

from __future__ import annotations

import dataclasses
import time

import jax

from nas_jax.artefacts import Memory
from nas_jax.memory import MemoryUse
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.interrupt import Interrupt
from nas_jax.run.making import searched_mask
from nas_jax.run.search import algorithm, search_step
from nas_jax.spaces import SpaceMask


def memory(experiment: Experiment, inputs: Inputs, interrupt: Interrupt) -> Memory:
    """Memory of the search step before and after pruning.

    A step that did not run here is compiled for this alone, and never run.
    """
    config, started = experiment.config.search, time.perf_counter()
    mask, searched = searched_mask(experiment, inputs), inputs["search"]
    platform = jax.default_backend()
    # Bytes of two compilers say nothing about pruning.
    here = searched.platform == platform
    pruned = searched.memory if here else _step_memory(experiment, mask)
    same = mask == experiment.start
    return Memory(
        target=platform,
        unpruned=pruned if same else _step_memory(experiment, experiment.start),
        pruned=pruned,
        batch_size=config.batch_size,
        channels=config.channels,
        layers=config.layers,
        remat=config.remat,
        dtype=config.dtype,
        seconds=time.perf_counter() - started,
    )


def _step_memory(experiment: Experiment, mask: SpaceMask) -> dict[str, float]:
    found = algorithm(experiment, mask, 1)
    return dataclasses.asdict(MemoryUse.of(search_step(experiment, found)))
