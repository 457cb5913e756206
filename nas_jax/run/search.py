"""The second stage: one-shot search on the operations that are left."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
from absl import logging

from nas_jax import data, oneshot, training
from nas_jax.artefacts import ChosenCells
from nas_jax.config import SearchConfig
from nas_jax.networks import get_supernet
from nas_jax.run import making
from nas_jax.run.decided import decided
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.facts import facts
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
    darts, schedule = algorithm(experiment, mask, per_epoch)
    compiled = search_step(experiment, darts)
    compile_seconds = time.perf_counter() - started
    loop = Loop(
        experiment,
        "search",
        making.searching(experiment, inputs),
        interrupt,
        fresh=lambda: darts.init(jax.random.key(0), images.image_shape),
        per_epoch=per_epoch,
        epochs=config.epochs,
        log_every=config.log_every,
        describe=lambda step, state: {
            "weight_learning_rate": float(schedule(step - 1)),
            "alphas": darts.probabilities(state),
        },
        shown=("train_loss", "valid_loss"),
    )
    with loop.log:
        result = oneshot.search(
            darts,
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
        facts=facts(result.genotype),
        probabilities=result.probabilities,
        decision=decision,
        seconds={
            "compile": compile_seconds,
            "total": time.perf_counter() - started,
        },
        platform=jax.default_backend(),
        memory=dataclasses.asdict(compiled.memory),
    )


def says(experiment: Experiment, chosen: ChosenCells) -> list[str]:
    """What was found, and how much of it the search decided."""
    decision = chosen.decision
    return [chosen.text, *([decision.warning or decision.text] if decision else [])]


def algorithm(
    experiment: Experiment, mask: SpaceMask, per_epoch: int
) -> tuple[oneshot.FirstOrderDarts, Any]:
    """The one-shot algorithm of a configuration, and its learning rate schedule."""
    config: SearchConfig = experiment.config.search
    network = get_supernet(
        mask,
        config.channels,
        config.layers,
        experiment.dataset.num_classes,
        remat=config.remat,  # type: ignore[arg-type]
        dtype=config.dtype,  # type: ignore[arg-type]
    )
    weights, schedule = training.sgd_cosine(
        config.weight_learning_rate,
        per_epoch * config.epochs,
        steps_per_epoch=per_epoch,
        minimum=config.weight_learning_rate_min,
        momentum=config.weight_momentum,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
    )
    alphas = training.alpha_adam(
        config.alpha_learning_rate, config.alpha_betas, config.alpha_weight_decay
    )
    darts = oneshot.FirstOrderDarts(network, weights, alphas, config.microbatches)
    return darts, schedule


def search_step(
    experiment: Experiment, algorithm: oneshot.FirstOrderDarts
) -> oneshot.SearchStep:
    """The compiled search step of an experiment."""
    return oneshot.SearchStep(
        algorithm,
        experiment.train_images,
        experiment.augment,
        experiment.config.search.batch_size,
        experiment.dataset.image_shape,
    )
