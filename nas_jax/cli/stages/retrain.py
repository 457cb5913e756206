"""The third stage: train the genotype from scratch, test it after every epoch."""

from __future__ import annotations

import time
from typing import Any

from nas_jax import training
from nas_jax.checkpoint import Checkpoints
from nas_jax.cli.interrupt import Interrupt
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.cli.stages.resume import Clock, last_checkpoint, resume
from nas_jax.errors import WorkdirError
from nas_jax.metrics import Progress
from nas_jax.networks import get_network
from nas_jax.spaces import Genotype
from nas_jax.workdir import Workdir


def retrain(
    experiment: Experiment, genotype: Genotype, interrupt: Interrupt
) -> dict[str, Any]:
    """Train the genotype from scratch and test it; writes retrain.jsonl.

    Returns:
        `test_accuracy`, `parameters` and `seconds`.

    Raises:
        GenotypeError: No path leads from a cell's input to its output.
    """
    config, workdir = experiment.config.retrain, experiment.workdir
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
    saved = Checkpoints(workdir.path("checkpoints/retrain"))
    _refuse_another_genotype(workdir, genotype)
    state, log = resume(saved, trainer, experiment, "retrain.jsonl")
    done = int(state.step) if state is not None else 0
    progress = Progress(total, "retrain", start_step=done)
    clock = Clock(done)
    last: dict[str, Any] = {}

    def on_step(step: int, metrics: Any, state: training.TrainState) -> None:
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
        if step % per_epoch and interrupt.requested:
            log.flush()
            saved.save(step, state)
            interrupt.stop_if_requested("retrain", step)

    def on_epoch(
        epoch: int, state: training.TrainState, loss: float, accuracy: float
    ) -> None:
        step = epoch * per_epoch
        log.write(step, {**last, "test_loss": loss, "test_accuracy": accuracy})
        if epoch == config.epochs or interrupt.requested or clock.due():
            log.flush()
            saved.save(step, state)
            clock.saved()
            if epoch < config.epochs:
                interrupt.stop_if_requested("retrain", step)

    with log:
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


def _refuse_another_genotype(workdir: Workdir, genotype: Genotype) -> None:
    """Keeps what is trained beside its checkpoints: equal shapes may hide a mix-up."""
    name = "checkpoints/retrain_genotype.json"
    if not workdir.has(name):
        workdir.path(name).parent.mkdir(parents=True, exist_ok=True)
        workdir.write_json(name, {"text": str(genotype)})
    trained = workdir.read_json(name)["text"]
    if trained != str(genotype):
        raise WorkdirError(
            f"workdir {workdir.root} holds the training of another genotype, "
            f"{trained}; give a new --workdir to train {genotype}"
        )
