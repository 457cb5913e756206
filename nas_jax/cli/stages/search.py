"""The second stage: one-shot search on the operations that are left."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
from absl import logging

from nas_jax import data, oneshot, training
from nas_jax.cli.interrupt import Interrupt
from nas_jax.cli.stages import making
from nas_jax.cli.stages.decided import decided
from nas_jax.cli.stages.experiment import Experiment, say_devices
from nas_jax.cli.stages.resume import Clock, last_checkpoint, resume, save
from nas_jax.config import SearchConfig
from nas_jax.metrics import Progress
from nas_jax.networks import get_supernet, is_nasbench201
from nas_jax.spaces import Genotype, SpaceMask
from nas_jax.spaces.nasbench201 import architecture_index, operations_of


def search(experiment: Experiment, mask: SpaceMask, interrupt: Interrupt) -> Genotype:
    """One-shot search on what a mask keeps; writes search.jsonl and genotype.json.

    Raises:
        Stopped: On a signal, with the state saved.
        WorkdirError: The workdir has a search of another making.
    """
    config, workdir = experiment.config.search, experiment.workdir
    found = making.found_genotype(experiment, mask)
    if found is not None:
        return found
    making.refuse_other_searches(experiment, mask)
    made = making.searching(experiment, mask)
    workdir.note(made)
    say_devices("search")
    interrupt.doing = "while search compiled"
    started = time.perf_counter()
    weight_indices, alpha_indices = data.bilevel_split(
        experiment.dataset.num_train, config.train_fraction, experiment.config.seed
    )
    per_epoch = len(weight_indices) // config.batch_size
    darts, schedule = algorithm(experiment, mask, per_epoch)
    compiled = search_step(experiment, darts)
    compile_seconds = time.perf_counter() - started
    saved = making.search_checkpoints(experiment, mask)
    state, log = resume(saved, darts, experiment, "search.jsonl", made.digest)
    total = per_epoch * config.epochs
    done = int(state.step) if state is not None else 0
    progress = Progress(total, "search", start_step=done)
    clock = Clock()

    def on_step(step: int, metrics: Any, state: oneshot.SearchState) -> None:
        clock.tick(step)
        progress.update(step, {k: metrics[k] for k in ("train_loss", "valid_loss")})
        if step % config.log_every == 0 or step == total:
            row = {name: float(value) for name, value in metrics.items()}
            training.check_finite(
                "search",
                step,
                row["train_loss"] + row["valid_loss"],
                last_checkpoint(saved),
            )
            log.write(
                step,
                {
                    "epoch": step / per_epoch,
                    **row,
                    "weight_learning_rate": float(schedule(step - 1)),
                    "steps_per_second": clock.rate(step),
                    "alphas": darts.probabilities(state),
                },
            )
        if interrupt.requested or clock.due():
            save(saved, "search", step, state, log)
            clock.saved()
            interrupt.stop_if_requested("search", step)

    with interrupt.saving("search"), log:
        result = oneshot.search(
            darts,
            experiment.train_images,
            weight_indices,
            alpha_indices,
            augment=experiment.augment,
            image_shape=experiment.dataset.image_shape,
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=experiment.config.seed,
            compiled=compiled,
            state=state,
            on_step=on_step,
        )
        decision = decided(result, mask, workdir.path("search.jsonl"), config)
        if decision["warning"]:
            logging.warning("%s", decision["warning"])
        artefact = {
            "space": experiment.space.name,
            "genotype": result.genotype.to_dict(),
            "text": str(result.genotype),
            **_official_index(result.genotype),
            "probabilities": result.probabilities,
            "decision": decision,
            "parameters": None,
            "seconds": {
                "compile": compile_seconds,
                "total": time.perf_counter() - started,
            },
            "platform": jax.default_backend(),
            "memory": dataclasses.asdict(compiled.memory),
        }
        workdir.write_artefact("genotype.json", artefact, made)
    return result.genotype


def _official_index(genotype: Genotype) -> dict[str, int]:
    """Where NAS-Bench-201 and NATS-Bench list an architecture of theirs."""
    if not is_nasbench201(genotype.space):
        return {}
    return {"nasbench201_index": architecture_index(operations_of(genotype))}


def algorithm(
    experiment: Experiment, mask: SpaceMask, per_epoch: int
) -> tuple[oneshot.OneShotAlgorithm, Any]:
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
    steps = {"total_steps": per_epoch * config.epochs, "steps_per_epoch": per_epoch}
    found = oneshot.get_algorithm(config.algorithm).compose(
        network, dataclasses.asdict(config) | steps
    )
    return found, found.learning_rate


def search_step(
    experiment: Experiment, algorithm: oneshot.OneShotAlgorithm
) -> oneshot.SearchStep:
    """The compiled search step of an experiment."""
    return oneshot.SearchStep(
        algorithm,
        experiment.train_images,
        experiment.augment,
        experiment.config.search.batch_size,
        experiment.dataset.image_shape,
    )
