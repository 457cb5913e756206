"""The first stage: score every operation without training, drop the poor ones."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from nas_jax import data, pruning
from nas_jax.artefacts import Budget, Operation, Pruning, Ranker
from nas_jax.config import PruneConfig
from nas_jax.memory import parse_bytes
from nas_jax.metrics import Progress
from nas_jax.proxies import Batch
from nas_jax.pruning.result import NOTHING_PRUNED
from nas_jax.run import making
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.images import scored_images
from nas_jax.run.interrupt import Interrupt
from nas_jax.run.journal import FileJournal
from nas_jax.run.step_bytes import step_bytes
from nas_jax.run.strategy import get_strategy


def prune(experiment: Experiment, inputs: Inputs, interrupt: Interrupt) -> Pruning:
    """Score and drop operations; each chunk of scores goes to prune.jsonl.

    A signal ends the process at once: the scores so far are in the file.
    """
    config = experiment.config.prune
    start = time.perf_counter()
    digest = making.pruning(experiment, inputs).digest
    strategy = get_strategy(config, experiment.space)
    scorers = [ranker.scored_by for ranker in strategy.rankers]
    pool = scored_images(experiment.dataset, scorers)
    progress = Progress(0, "prune: candidate", unit="candidates")
    path = experiment.workdir.path("prune.jsonl")
    given_back = 0.0

    def on_chunk(done: int, total: int) -> None:
        nonlocal given_back
        progress.total_steps = total
        # What the journal had took no time, and says nothing about what it lacks.
        if journal.earlier_seconds > given_back:
            given_back = journal.earlier_seconds
            progress.skip(done)
        else:
            progress.update(done)

    with contextlib.ExitStack() as stack:
        journal = FileJournal(path, digest)
        stack.callback(journal.close)
        target = stack.enter_context(_target(experiment))
        result = pruning.prune(
            experiment.start,
            strategy,
            functools.partial(_batch, experiment, pool),
            key=jax.random.key(experiment.config.seed),
            num_classes=experiment.dataset.num_classes,
            target=target,
            candidates_at_once=candidates_at_once(config),
            journal=journal,
            progress=on_chunk,
        )
    warnings = [*result.warnings, *_small_batches(strategy, len(pool))]
    for warning in warnings:
        logging.warning("prune: %s", warning)
    # Scoring of earlier processes counts, compiling of this one alone is known.
    seconds = {
        "compile": result.compile_seconds,
        "score": result.score_seconds,
        "total": time.perf_counter() - start + journal.earlier_seconds,
    }
    return _artefact(experiment, strategy, result, len(pool), tuple(warnings), seconds)


def says(experiment: Experiment, pruning: Pruning) -> list[str]:
    """How much is left."""
    space, start = experiment.space, experiment.start
    mask = making.searched_mask(experiment, {"prune": pruning})
    return [
        f"kept {mask.num_kept} of {start.num_kept} operations",
        f"architectures: {space.size(start)} before, {space.size(mask)} after",
        *(
            f"warning: {warning}"
            for warning in pruning.warnings
            if warning.startswith(NOTHING_PRUNED)
        ),
    ]


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


def _batch(experiment: Experiment, pool: np.ndarray, number: int, size: int) -> Batch:
    """Training images without augmentation; the whole pool where a batch is larger."""
    images = experiment.dataset
    # Not a sum: the next seed's first batch would be this one's second.
    mixed = np.random.SeedSequence([experiment.config.seed, number])
    seed = int(mixed.generate_state(1)[0])
    index = data.epoch_order(seed, 0, pool, min(size, len(pool)))[0]
    pixels = experiment.prepare(jax.random.key(0), jnp.asarray(images.x_train[index]))
    return Batch(pixels, jnp.asarray(images.y_train[index]))


def _small_batches(strategy: pruning.Strategy, pool_size: int) -> list[str]:
    """Says where fewer images are compared than a strategy asks for."""
    return [
        f"{ranker.name} compares {pool_size} images and not {ranker.batch_size}: there "
        "are no more different ones"
        for ranker in strategy.rankers
        if ranker.scored_by.compares_images and ranker.batch_size > pool_size
    ]


def _artefact(
    experiment: Experiment,
    strategy: pruning.Strategy,
    result: pruning.PruneResult,
    pool_size: int,
    warnings: tuple[str, ...],
    seconds: dict[str, float],
) -> Pruning:
    config = experiment.config.prune
    budget = None
    if config.budget:
        assert result.step_bytes is not None
        budget = Budget(
            parse_bytes(config.budget), config.budget_target, result.step_bytes
        )
    rows = [dataclasses.asdict(row) for row in result.operations]
    return Pruning(
        space=experiment.space.name,
        strategy=result.strategy,
        # What its numbers mean, for readers that do not have it.
        meaning=pruning.STRATEGIES[config.strategy].words,
        defects=config.defects,
        # Of level, keep and budget, the one that decided.
        level=None if config.keep or config.budget else config.level,
        keep=None if config.budget else config.keep or None,
        budget=budget,
        min_parametric=config.min_parametric,
        kept_fraction=result.kept_fraction,
        kept=result.mask.num_kept,
        total=result.start.num_kept,
        proxies=result.proxies,
        seed=experiment.config.seed,
        repeats=strategy.repeats,
        rounds=result.rounds,
        candidates=result.candidates,
        distinct_images=len(experiment.dataset.distinct),
        warnings=warnings,
        seconds=seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        rankers=tuple(
            Ranker(
                proxy=ranker.name,
                network=dataclasses.asdict(ranker.build),  # type: ignore[call-overload]
                batch_size=min(ranker.batch_size, pool_size),
                norm=ranker.norm or "",
            )
            for ranker in strategy.rankers
        ),
        mask=result.mask.to_dict(),
        mask_sha256=making.mask_digest(result.mask),
        operations=tuple(Operation(name=row.pop("operation"), **row) for row in rows),
    )
