"""The first stage: score every operation without training, drop the poor ones."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from nas_jax import data, pruning
from nas_jax.cli.interrupt import Interrupt
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.cli.stages.journal import FileJournal
from nas_jax.cli.stages.step_bytes import step_bytes
from nas_jax.cli.stages.strategy import get_strategy
from nas_jax.config import PruneConfig
from nas_jax.memory import parse_bytes
from nas_jax.metrics import Progress
from nas_jax.proxies import Batch
from nas_jax.spaces import SpaceMask

JOURNAL = "prune.jsonl"


def prune(experiment: Experiment, interrupt: Interrupt) -> SpaceMask:
    """Score and drop operations; writes prune.jsonl, and prune.json at the end.

    Returns:
        What is kept.

    Raises:
        Stopped: On SIGTERM; the same experiment goes on at the next candidates.
    """
    config, workdir = experiment.config.prune, experiment.workdir
    if workdir.stage_done("prune"):
        return SpaceMask.load(experiment.space, workdir.path("prune.json"))
    start = time.perf_counter()
    strategy = get_strategy(config, experiment.space)
    progress: Progress | None = None

    def on_chunk(done: int, total: int) -> None:
        nonlocal progress
        if progress is None:
            progress = Progress(total, "prune: candidate", unit="candidates")
        progress.update(done)
        interrupt.stop_if_requested("prune", done)

    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(FileJournal(workdir.path(JOURNAL)))
        target = stack.enter_context(_target(experiment))
        result = pruning.prune(
            experiment.start,
            strategy,
            functools.partial(_batch, experiment),
            key=jax.random.key(experiment.config.seed),
            num_classes=experiment.dataset.num_classes,
            target=target,
            candidates_at_once=candidates_at_once(config),
            journal=journal,
            progress=on_chunk,
        )
    for warning in result.warnings:
        logging.warning("prune: %s", warning)
    # Scoring of earlier processes counts, compiling of this one alone is known.
    seconds = {
        "compile": result.compile_seconds,
        "score": result.score_seconds,
        "total": time.perf_counter() - start + journal.earlier_seconds,
    }
    workdir.write_json("prune.json", _artefact(experiment, strategy, result, seconds))
    return result.mask


def candidates_at_once(config: PruneConfig) -> int:
    """Candidates that a device scores side by side."""
    # One at a time, a CPU's caches hold a candidate.
    usual = 1 if jax.default_backend() == "cpu" else 8
    return config.candidates_at_once or usual


@contextlib.contextmanager
def _target(experiment: Experiment) -> Iterator[pruning.Target]:
    config = experiment.config.prune
    target = pruning.Target(
        level=config.level,
        keep=config.keep or None,
        min_parametric=config.min_parametric,
    )
    if not config.budget:
        yield target
        return
    with step_bytes(experiment, config.budget_target) as measure:
        yield dataclasses.replace(
            target, budget_bytes=parse_bytes(config.budget), step_bytes=measure
        )


def _batch(experiment: Experiment, number: int, size: int) -> Batch:
    """Training images without augmentation; all of them where a batch is larger."""
    images = experiment.dataset
    # Not a sum: the next seed's first batch would be this one's second.
    mixed = np.random.SeedSequence([experiment.config.seed, number])
    order = data.epoch_order(
        int(mixed.generate_state(1)[0]),
        0,
        np.arange(images.num_train),
        min(size, images.num_train),
    )
    index = order[0]
    pixels = experiment.prepare(jax.random.key(0), jnp.asarray(images.x_train[index]))
    return Batch(pixels, jnp.asarray(images.y_train[index]))


def _artefact(
    experiment: Experiment,
    strategy: pruning.Strategy,
    result: pruning.PruneResult,
    seconds: dict[str, float],
) -> dict[str, Any]:
    config = experiment.config.prune
    rows = []
    for operation in result.operations:
        row = dataclasses.asdict(operation)
        if not row["reason"]:
            row.pop("reason")
        rows.append(row)
    budget = {}
    if config.budget:
        budget = {
            "budget_bytes": parse_bytes(config.budget),
            "budget_target": config.budget_target,
            "step_bytes": result.step_bytes,
        }
    return {
        "space": experiment.space.name,
        "strategy": result.strategy,
        "defects": config.defects,
        # Of level, keep and budget, the one that decided.
        "level": None if config.keep or config.budget else config.level,
        "keep": None if config.budget else config.keep or None,
        **budget,
        "min_parametric": config.min_parametric,
        "kept_fraction": result.mask.kept_fraction,
        "kept": result.mask.num_kept,
        "total": experiment.space.num_operations,
        "proxies": list(result.proxies),
        "seed": experiment.config.seed,
        "repeats": strategy.repeats,
        "rounds": result.rounds,
        "candidates": result.candidates,
        "warnings": list(result.warnings),
        "seconds": seconds,
        "peak_memory_bytes": result.peak_memory_bytes,
        "rankers": [
            {
                "proxy": ranker.name,
                "network": dataclasses.asdict(ranker.build),  # type: ignore[call-overload]
                "batch_size": ranker.batch_size,
                "norm": ranker.norm,
            }
            for ranker in strategy.rankers
        ],
        "mask": result.mask.to_dict(),
        "operations": rows,
    }
