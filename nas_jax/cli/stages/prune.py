"""The first stage: score every operation without training, drop the poor ones."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax import data, pruning
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.metrics import Progress
from nas_jax.proxies import Batch
from nas_jax.spaces import SpaceMask


def prune(experiment: Experiment) -> SpaceMask:
    """Score and drop operations; writes prune.json.

    Returns:
        What is kept.
    """
    config, workdir = experiment.config.prune, experiment.workdir
    if workdir.stage_done("prune"):
        return SpaceMask.load(experiment.space, workdir.path("prune.json"))
    start = time.perf_counter()
    seeds = [experiment.config.seed + repeat for repeat in range(config.repeats)]
    images = experiment.dataset

    def batch(repeat: int) -> Batch:
        order = data.epoch_order(
            seeds[repeat], 0, np.arange(images.num_train), config.batch_size
        )
        index = order[0]
        pixels = experiment.prepare(
            jax.random.key(0), jnp.asarray(images.x_train[index])
        )
        return Batch(pixels, jnp.asarray(images.y_train[index]))

    progress = Progress(config.repeats, "prune: repeat", every_seconds=0.0)
    result = pruning.prune(
        experiment.start,
        batch,
        key=jax.random.key(experiment.config.seed),
        num_classes=images.num_classes,
        level=config.level,
        proxies=config.proxies,
        channels=config.channels,
        layers=config.layers,
        repeats=config.repeats,
        candidates_at_once=config.candidates_at_once,
        progress=progress.update,
    )
    rows = []
    for operation in result.operations:
        row = dataclasses.asdict(operation)
        if not row["reason"]:
            row.pop("reason")
        rows.append(row)
    workdir.write_json(
        "prune.json",
        {
            "space": experiment.space.name,
            "strategy": "zero_one_shot",
            "level": config.level,
            "kept_fraction": result.mask.kept_fraction,
            "kept": result.mask.num_kept,
            "total": experiment.space.num_operations,
            "proxies": list(result.proxies),
            "seeds": seeds,
            "seconds": {
                "compile": result.compile_seconds,
                "score": result.score_seconds,
                "total": time.perf_counter() - start,
            },
            "peak_memory_bytes": result.peak_memory_bytes,
            "network": {
                "channels": config.channels,
                "layers": config.layers,
                "batch_size": config.batch_size,
            },
            "mask": result.mask.to_dict(),
            "operations": rows,
        },
    )
    return result.mask
