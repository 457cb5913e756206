"""The third stage: train the genotype from scratch, test it after every epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from nas_jax import training
from nas_jax.cli.interrupt import Interrupt
from nas_jax.cli.stages import making
from nas_jax.cli.stages.experiment import Experiment, say_devices
from nas_jax.cli.stages.resume import Clock, last_checkpoint, resume, save
from nas_jax.metrics import Progress
from nas_jax.networks import get_network
from nas_jax.spaces import Genotype


def retrain(
    experiment: Experiment, genotype: Genotype, interrupt: Interrupt
) -> dict[str, Any]:
    """Train the genotype from scratch and test it; writes retrain.jsonl.

    Returns:
        `test_accuracy`, `parameters` and `seconds`.

    Raises:
        GenotypeError: No path leads from a cell's input to its output.
        Stopped: On a signal, with the state saved.
        WorkdirError: The workdir has a training of another making.
    """
    config = experiment.config.retrain
    making.refuse_other_trainings(experiment, genotype)
    made = making.retraining(experiment, genotype)
    experiment.workdir.note(made)
    say_devices("retrain")
    interrupt.doing = "before retrain had begun"
    started = time.perf_counter()
    images = experiment.dataset
    per_epoch = max(1, images.num_train // config.batch_size)
    total = per_epoch * config.epochs
    optimiser, schedule = training.sgd_cosine(
        config.learning_rate,
        total,
        steps_per_epoch=per_epoch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
    )
    network = get_network(genotype, config.channels, config.layers, images.num_classes)
    trainer = training.Trainer(
        network, optimiser, experiment.augment, experiment.prepare, images.image_shape
    )
    saved = making.retrain_checkpoints(experiment, genotype)
    state, log = resume(saved, trainer, experiment, "retrain.jsonl", made.digest)
    done = int(state.step) if state is not None else 0
    progress = Progress(total, "retrain", start_step=done)
    clock = Clock()
    last: dict[str, Any] = {}

    def on_step(step: int, metrics: Any, state: training.TrainState) -> None:
        clock.tick(step)
        progress.update(step, metrics)
        if step % config.log_every == 0 or step % per_epoch == 0:
            last.update({name: float(value) for name, value in metrics.items()})
            training.check_finite(
                "retrain", step, last["train_loss"], last_checkpoint(saved)
            )
            last.update(
                epoch=step / per_epoch,
                learning_rate=float(schedule(step - 1)),
                steps_per_second=clock.rate(step),
            )
            if step % per_epoch:
                log.write(step, last)
        # The end of an epoch is saved after its test, so that its row is whole.
        if step % per_epoch and (interrupt.requested or clock.due()):
            save(saved, "retrain", step, state, log)
            clock.saved()
            interrupt.stop_if_requested("retrain", step)

    def on_epoch(
        epoch: int, state: training.TrainState, loss: float, accuracy: float
    ) -> None:
        step = epoch * per_epoch
        log.write(step, {**last, "test_loss": loss, "test_accuracy": accuracy})
        if epoch == done // per_epoch + 1:
            # The first test compiled.
            progress.again(step)
        if epoch == config.epochs or interrupt.requested or clock.due():
            save(saved, "retrain", step, state, log)
            clock.saved()
            if epoch < config.epochs:
                interrupt.stop_if_requested("retrain", step)
        clock.rate(step)  # A test is no part of the rate of the steps after it.

    with interrupt.saving("retrain"), log:
        result = training.retrain(
            trainer,
            experiment.train_images,
            training.DeviceImages.put(images.x_test, images.y_test),
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=experiment.config.seed,
            state=state,
            on_step=on_step,
            on_epoch=on_epoch,
        )
    return {
        "test_accuracy": result.test_accuracy,
        "parameters": result.parameters,
        "seconds": time.perf_counter() - started,
    }


def write_result(
    experiment: Experiment, genotype: Genotype, result: Mapping[str, Any]
) -> None:
    """Writes retrain.json, of a retraining that is no part of a whole run."""
    experiment.workdir.write_artefact(
        "retrain.json",
        {**result, "genotype": str(genotype)},
        making.retraining(experiment, genotype),
    )
