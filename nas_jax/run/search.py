"""The second stage: one-shot search on the operations that are left."""

from __future__ import annotations

import dataclasses
import time

import jax
from absl import logging

from nas_jax import data, oneshot
from nas_jax.artefacts import ChosenCells
from nas_jax.config import SearchConfig
from nas_jax.memory import MemoryUse
from nas_jax.networks import Size, family_of
from nas_jax.run import making
from nas_jax.run.decided import decided
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.interrupt import Interrupt
from nas_jax.run.loop import Loop
from nas_jax.spaces import SpaceMask


def search(experiment: Experiment, inputs: Inputs, interrupt: Interrupt) -> ChosenCells:
    """One-shot search on what a mask keeps, with a row for each step in search.jsonl.

    Raises:
        Stopped: On a signal, with the state saved.
    """
    config, started = experiment.config.search, time.perf_counter()
    mask = making.searched_mask(experiment, inputs)
    images = experiment.dataset
    halves = data.bilevel_split(
        images.num_train, config.train_fraction, experiment.config.seed
    )
    per_epoch = len(halves[0]) // config.batch_size
    found = algorithm(experiment, mask, per_epoch)
    compiled = search_step(experiment, found)
    compile_seconds = time.perf_counter() - started
    loop = Loop(
        experiment,
        "search",
        making.searching(experiment, inputs),
        interrupt,
        fresh=lambda: found.init(jax.random.key(0), images.image_shape),
        per_epoch=per_epoch,
        epochs=config.epochs,
        log_every=config.log_every,
        describe=lambda step, state: {
            "weight_learning_rate": float(found.learning_rate(step - 1)),
            "alphas": found.probabilities(state),
        },
        shown=("train_loss", "valid_loss"),
    )
    with loop.log:
        result = oneshot.search(
            found,
            experiment.train_images,
            *halves,
            augment=experiment.augment,
            image_shape=images.image_shape,
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=experiment.config.seed,
            compiled=compiled,
            state=loop.state,
            on_step=loop.on_step,
        )
    log = experiment.workdir.path("search.jsonl")
    decision = decided(result, mask, log, config)
    if decision.warning:
        logging.warning("%s", decision.warning)
    return ChosenCells(
        space=experiment.space.name,
        genotype=result.genotype.to_dict(),
        text=str(result.genotype),
        facts=family_of(mask.space).facts(result.genotype),
        probabilities=result.probabilities,
        decision=decision,
        seconds={
            "compile": compile_seconds,
            "total": time.perf_counter() - started,
        },
        platform=jax.default_backend(),
        memory=dataclasses.asdict(MemoryUse.of(compiled)),
    )


def says(experiment: Experiment, chosen: ChosenCells) -> list[str]:
    """What was found, and how much of it the search decided."""
    decision = chosen.decision
    return [chosen.text, *([decision.warning or decision.text] if decision else [])]


def algorithm(
    experiment: Experiment, mask: SpaceMask, per_epoch: int
) -> oneshot.OneShotAlgorithm:
    """The one-shot algorithm of a configuration."""
    config: SearchConfig = experiment.config.search
    network = family_of(mask.space).supernet(
        mask,
        Size(config.channels, config.layers),
        experiment.dataset.num_classes,
        remat=config.remat,
        dtype=config.dtype,
    )
    steps = {"total_steps": per_epoch * config.epochs, "steps_per_epoch": per_epoch}
    return oneshot.get_algorithm(config.algorithm).compose(
        network, dataclasses.asdict(config) | steps
    )


def search_step(
    experiment: Experiment, algorithm: oneshot.OneShotAlgorithm
) -> jax.stages.Compiled:
    """The compiled search step of an experiment."""
    return oneshot.lower_step(
        algorithm,
        experiment.train_images,
        experiment.augment,
        experiment.config.search.batch_size,
        experiment.dataset.image_shape,
    ).compile()
