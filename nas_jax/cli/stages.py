"""The stages of an experiment: each reads and writes artefacts of one workdir."""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax import data, oneshot, pruning, training
from nas_jax.checkpoint import Checkpoints
from nas_jax.cli.interrupt import Interrupt
from nas_jax.config import ExperimentConfig, SearchConfig
from nas_jax.errors import ConfigError, MaskError, WorkdirError
from nas_jax.metrics import JsonlWriter, Progress
from nas_jax.networks import DerivedNetwork, Supernet, check_image
from nas_jax.proxies import Batch, get_proxy
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask, get_space
from nas_jax.workdir import Workdir

CHECKPOINT_SECONDS = 60.0
"""Least time between two checkpoints; a stopped run also saves one at once."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked configuration with its data, space and workdir.

    Attributes:
        config: The configuration.
        workdir: Where artefacts go.
        dataset: The images.
        space: The search space.
        start: The mask that pruning starts from.
    """

    config: ExperimentConfig
    workdir: Workdir
    dataset: data.Dataset
    space: SearchSpace
    start: SpaceMask

    @functools.cached_property
    def train_images(self) -> training.DeviceImages:
        """Training images on the device."""
        return training.DeviceImages.put(self.dataset.x_train, self.dataset.y_train)

    @functools.cached_property
    def augment(self) -> training.Augment:
        """Augmentation of training batches."""
        options = self.config.data
        return functools.partial(
            data.augment,
            mean=self.dataset.mean,
            std=self.dataset.std,
            crop_padding=options.crop_padding,
            flip=options.flip,
            cutout_length=options.cutout,
        )

    def prepare(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Normalisation alone, for scoring and testing; the key is not used."""
        del key
        return data.normalize(images, self.dataset.mean, self.dataset.std)


def load_data(config: ExperimentConfig) -> tuple[data.Dataset, SearchSpace, SpaceMask]:
    """Load and check what an experiment needs, before anything is written.

    Raises:
        NasJaxError: On bad data, an unknown proxy, a bad mask, or images that the
            networks cannot halve.
    """
    for name in config.prune.proxies:
        get_proxy(name)
    space = get_space(config.space.name, config.space.num_nodes)
    start = SpaceMask.full(space)
    if config.space.mask:
        start = SpaceMask.from_json(space, _read(config.space.mask))
    options = dataclasses.asdict(config.data)
    for name in ("crop_padding", "flip", "cutout"):
        options.pop(name)
    dataset = data.load(options.pop("source"), **options)
    height, width, _ = dataset.image_shape
    for stage in (config.prune, config.search, config.retrain):
        check_image(height, width, stage.layers)
    _check_batches(config, dataset.num_train)
    return dataset, space, start


def _check_batches(config: ExperimentConfig, num_train: int) -> None:
    parts = data.bilevel_split(num_train, config.search.train_fraction, config.seed)
    for name, batch_size, images in (
        ("prune", config.prune.batch_size, num_train),
        ("search", config.search.batch_size, min(map(len, parts))),
        ("retrain", config.retrain.batch_size, num_train),
    ):
        if batch_size > images:
            raise ConfigError(
                f"{name}.batch_size is {batch_size}, but {name} draws batches from "
                f"{images} of the {num_train} training images; pass "
                f"--config.{name}.batch_size={images} or less, or give more images"
            )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MaskError(f"cannot read {path}: {error}; give a text file") from None


def prune(experiment: Experiment) -> SpaceMask:
    """Score and drop operations; writes prune.json.

    Returns:
        What is kept.
    """
    config, workdir = experiment.config.prune, experiment.workdir
    if workdir.stage_done("prune"):
        return SpaceMask.from_json(
            experiment.space, _read(str(workdir.path("prune.json")))
        )
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


def search(experiment: Experiment, mask: SpaceMask, interrupt: Interrupt) -> Genotype:
    """One-shot search on what a mask keeps; writes search.jsonl and genotype.json."""
    config, workdir = experiment.config.search, experiment.workdir
    if workdir.stage_done("search"):
        stored = workdir.read_json("genotype.json")
        return Genotype.parse(experiment.space, stored["text"])
    started = time.perf_counter()
    weight_indices, alpha_indices = data.bilevel_split(
        experiment.dataset.num_train, config.train_fraction, experiment.config.seed
    )
    per_epoch = len(weight_indices) // config.batch_size
    darts, schedule = algorithm(experiment, mask, per_epoch)
    compiled = _search_step(experiment, darts)
    compile_seconds = time.perf_counter() - started
    saved = Checkpoints(workdir.path("checkpoints/search"))
    state, log = _resume(saved, darts, experiment, "search.jsonl")
    total = per_epoch * config.epochs
    done = int(state.step) if state is not None else 0
    progress = Progress(total, "search", start_step=done)
    clock = _Clock(done)

    def on_step(step: int, metrics: Any, state: oneshot.SearchState) -> None:
        progress.update(step, {k: metrics[k] for k in ("train_loss", "valid_loss")})
        if step % config.log_every == 0 or step == total:
            row = {name: float(value) for name, value in metrics.items()}
            training.check_finite(
                "search", step, row["train_loss"] + row["valid_loss"], _last(saved)
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
        if interrupt.requested or clock.due(CHECKPOINT_SECONDS):
            log.flush()
            saved.save(step, state)
            clock.saved()
            interrupt.stop_if_requested("search", step)

    with log:
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
    workdir.write_json(
        "genotype.json",
        {
            "space": experiment.space.name,
            "genotype": result.genotype.to_dict(),
            "text": str(result.genotype),
            "probabilities": result.probabilities,
            "parameters": None,
            "seconds": {
                "compile": compile_seconds,
                "total": time.perf_counter() - started,
            },
            "memory": dataclasses.asdict(compiled.memory),
        },
    )
    return result.genotype


def memory(experiment: Experiment, mask: SpaceMask) -> dict[str, Any]:
    """Memory of the search step before and after pruning; writes memory.json.

    The unpruned step is compiled for this alone, and never run.
    """
    config, workdir = experiment.config.search, experiment.workdir
    if workdir.has("memory.json"):
        stored: dict[str, Any] = workdir.read_json("memory.json")
        return stored
    started = time.perf_counter()
    pruned = workdir.read_json("genotype.json")["memory"]
    unpruned = pruned
    if mask != experiment.start:
        darts, _ = algorithm(experiment, experiment.start, 1)
        unpruned = dataclasses.asdict(_search_step(experiment, darts).memory)
    report = {
        "target": jax.devices()[0].platform,
        "unpruned": unpruned,
        "pruned": pruned,
        "batch_size": config.batch_size,
        "channels": config.channels,
        "layers": config.layers,
        "remat": config.remat,
        "dtype": config.dtype,
        "seconds": time.perf_counter() - started,
    }
    workdir.write_json("memory.json", report)
    return report


def retrain(
    experiment: Experiment, genotype: Genotype, interrupt: Interrupt
) -> dict[str, Any]:
    """Train the genotype from scratch and test it; writes retrain.jsonl.

    Returns:
        `test_accuracy`, `parameters` and `seconds`.
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
    network = DerivedNetwork(
        genotype, config.channels, config.layers, images.num_classes
    )
    trainer = training.Trainer(
        network, optimiser, experiment.augment, experiment.prepare, images.image_shape
    )
    saved = Checkpoints(workdir.path("checkpoints/retrain"))
    _refuse_another_genotype(workdir, genotype)
    state, log = _resume(saved, trainer, experiment, "retrain.jsonl")
    done = int(state.step) if state is not None else 0
    progress = Progress(total, "retrain", start_step=done)
    clock = _Clock(done)
    last: dict[str, Any] = {}

    def on_step(step: int, metrics: Any, state: training.TrainState) -> None:
        progress.update(step, metrics)
        if step % config.log_every == 0 or step % per_epoch == 0:
            last.update({name: float(value) for name, value in metrics.items()})
            training.check_finite("retrain", step, last["train_loss"], _last(saved))
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
        if (
            epoch == config.epochs
            or interrupt.requested
            or clock.due(CHECKPOINT_SECONDS)
        ):
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


def algorithm(
    experiment: Experiment, mask: SpaceMask, per_epoch: int
) -> tuple[oneshot.FirstOrderDarts, Any]:
    """The one-shot algorithm of a configuration, and its learning rate schedule."""
    config: SearchConfig = experiment.config.search
    network = Supernet(
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


def _search_step(
    experiment: Experiment, algorithm: oneshot.FirstOrderDarts
) -> oneshot.SearchStep:
    return oneshot.SearchStep(
        algorithm,
        experiment.train_images,
        experiment.augment,
        experiment.config.search.batch_size,
        experiment.dataset.image_shape,
    )


def _resume(
    saved: Checkpoints, stage: Any, experiment: Experiment, log: str
) -> tuple[Any, JsonlWriter]:
    """The state to go on from, or None, and the log cut to the same step."""
    path = experiment.workdir.path(log)
    if saved.latest_step() is None:
        return None, JsonlWriter(path)
    key = jax.random.key(0)
    if isinstance(stage, training.Trainer):
        fresh: Any = stage.init(key)
    else:
        fresh = stage.init(key, experiment.dataset.image_shape)
    step, state = saved.restore(fresh)
    return state, JsonlWriter(path, resume_step=step)


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


def _last(saved: Checkpoints) -> str:
    step = saved.latest_step()
    if step is None:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is of step {step}"


class _Clock:
    """Rate of steps since the last row, and time since the last checkpoint."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.perf_counter()
        self._saved = self._time

    def rate(self, step: int) -> float:
        now = time.perf_counter()
        rate = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return rate

    def due(self, seconds: float) -> bool:
        return time.perf_counter() - self._saved >= seconds

    def saved(self) -> None:
        self._saved = time.perf_counter()


__all__ = ["Experiment", "load_data", "memory", "prune", "retrain", "search"]
