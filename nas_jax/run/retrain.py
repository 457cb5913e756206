"""The third stage: train the genotype from scratch, test it after every epoch."""

from __future__ import annotations

import time

import jax

from nas_jax import training
from nas_jax.artefacts import Retraining
from nas_jax.networks import Size, family_of
from nas_jax.run import making
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.interrupt import Interrupt
from nas_jax.run.loop import Loop


def retrain(experiment: Experiment, inputs: Inputs, interrupt: Interrupt) -> Retraining:
    """Train the genotype from scratch and test it; rows go to retrain.jsonl.

    Raises:
        GenotypeError: No path leads from a cell's input to its output.
        Stopped: On a signal, with the state saved.
    """
    config, started = experiment.config.retrain, time.perf_counter()
    images = experiment.dataset
    genotype = making.trained_genotype(experiment, inputs)
    made = making.retraining(experiment, inputs)
    assert genotype is not None and made is not None
    per_epoch = max(1, images.num_train // config.batch_size)
    optimiser, schedule = training.sgd_cosine(
        config.learning_rate,
        per_epoch * config.epochs,
        steps_per_epoch=per_epoch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
    )
    size = Size(config.channels, config.layers)
    network = family_of(genotype.space).network(genotype, size, images.num_classes)
    trainer = training.Trainer(
        network, optimiser, experiment.augment, experiment.prepare, images.image_shape
    )
    loop = Loop(
        experiment,
        "retrain",
        made,
        interrupt,
        fresh=lambda: trainer.init(jax.random.key(0)),
        per_epoch=per_epoch,
        epochs=config.epochs,
        log_every=config.log_every,
        describe=lambda step, state: {"learning_rate": float(schedule(step - 1))},
        shown=("train_loss", "train_accuracy"),
        tests=True,
    )
    with loop.log:
        result = training.retrain(
            trainer,
            experiment.train_images,
            training.DeviceImages.put(images.x_test, images.y_test),
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=experiment.config.seed,
            state=loop.state,
            on_step=loop.on_step,
            on_epoch=loop.on_epoch,
        )
    return Retraining(
        genotype=str(genotype),
        test_accuracy=result.test_accuracy,
        parameters=result.parameters,
        seconds=time.perf_counter() - started,
    )


def says(experiment: Experiment, result: Retraining) -> list[str]:
    """How good it is."""
    return [f"test accuracy {result.test_accuracy:.4f}"]
