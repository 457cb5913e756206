"""One cell of the trade-off study: prune, search on what is left, judge the result."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax import data, oneshot, pruning, training
from nas_jax.errors import ConfigError
from nas_jax.memory import MemoryUse
from nas_jax.networks import Size, family_of
from nas_jax.proxies import Batch
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask, discretise
from nas_jax.spaces.nasbench201 import genotype_of

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Study:
    """What all cells of a study share.

    Attributes:
        space: The search space.
        images: Training and test images.
        channels: Channels of the supernets, searched and scored.
        layers: Their cells; cells of each stage for NAS-Bench-201.
        batch_size: Images in a batch, of scoring and of the search.
        steps: Search steps.
        proxies: Rankers of `zero_one_shot`; empty for its own.
        repeats: Weights and batches of a score; 0 for the strategy's own.
        samples: Architectures of `sampled`.
    """

    space: SearchSpace
    images: data.Dataset
    channels: int
    layers: int
    batch_size: int
    steps: int
    proxies: tuple[str, ...]
    repeats: int
    samples: int

    @functools.cached_property
    def on_device(self) -> training.DeviceImages:
        """Training images on the device."""
        return training.DeviceImages.put(self.images.x_train, self.images.y_train)

    def prepare(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Normalisation alone."""
        del key
        return data.normalize(images, self.images.mean, self.images.std)

    def augment(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Crops and flips, as DARTS on CIFAR at a quarter of its padding a pixel."""
        return data.augment(
            key,
            images,
            mean=self.images.mean,
            std=self.images.std,
            crop_padding=max(1, self.images.image_shape[0] // 8),
            flip=True,
        )

    def batch(self, seed: int, number: int, size: int) -> Batch:
        """A batch to score on."""
        count = self.images.num_train
        order = data.epoch_order(
            seed * 1000 + number, 0, np.arange(count), min(size, count)
        )
        pixels = self.prepare(
            jax.random.key(0), jnp.asarray(self.images.x_train[order[0]])
        )
        return Batch(pixels, jnp.asarray(self.images.y_train[order[0]]))


def shrunk(images: data.Dataset, size: int) -> data.Dataset:
    """The same images, averaged over squares down to a size.

    Raises:
        ConfigError: The size does not divide theirs.
    """
    height = images.image_shape[0]
    if height % size:
        raise ConfigError(f"image_size {size} does not divide the images' {height}")
    side = height // size

    def mean(x: np.ndarray) -> np.ndarray:
        squares = x.reshape(len(x), size, side, size, side, x.shape[-1])
        return np.round(squares.mean((2, 4))).astype(np.uint8)

    return data.Dataset.from_arrays(
        mean(images.x_train),
        images.y_train,
        mean(images.x_test),
        images.y_test,
        class_names=images.class_names,
    )


class Scores(dict[str, tuple[np.ndarray, float]]):
    """Scores of a strategy and seed, which levels of pruning share."""

    def read(self, candidates: str) -> tuple[np.ndarray, float] | None:
        """What is known of a chunk of candidates."""
        return self.get(candidates)

    def write(self, candidates: str, scores: np.ndarray, seconds: float) -> None:
        """Keeps a chunk."""
        self[candidates] = (scores, seconds)


def strategy_of(study: Study, name: str) -> pruning.Strategy:
    """A strategy at the study's size; thin ones have networks of their own."""
    thin = name in ("te_nas", "ete_nas", "random")
    options = dict(
        proxies=study.proxies if name in ("zero_one_shot", "sampled") else (),
        channels=0 if thin else study.channels,
        layers=0 if thin else study.layers,
        repeats=study.repeats,
        samples=study.samples if name == "sampled" else 0,
        batch_size=0 if thin else study.batch_size,
    )
    return pruning.get_strategy(name, study.space, options)


def prune(
    study: Study, strategy: str, level: float, seed: int, scores: Scores
) -> tuple[SpaceMask, Row]:
    """The mask of a level, and what it cost to find it."""
    full = SpaceMask.full(study.space)
    if level == 0:
        return full, {"prune_seconds": 0.0, "candidates": 0}
    result = pruning.prune(
        full,
        strategy_of(study, strategy),
        functools.partial(study.batch, seed),
        key=jax.random.key(seed),
        num_classes=study.images.num_classes,
        target=pruning.Target(level),
        # Levels share the scores of what they have in common.
        journal=scores,
    )
    return result.mask, {
        "prune_seconds": result.score_seconds,
        "prune_compile_seconds": result.compile_seconds,
        "candidates": result.candidates,
        "warnings": list(result.warnings),
    }


def search(study: Study, mask: SpaceMask, seed: int) -> tuple[Genotype, Row]:
    """First-order DARTS on a mask, and its cost; nothing to search if it is decided."""
    if study.space.size(mask) == 1:
        # All that an edge keeps weighs the same: `none` is not chosen.
        cells = {k: v / v.sum(1, keepdims=True) for k, v in mask.arrays().items()}
        return discretise(mask, cells), {"search_seconds": 0.0}
    weight_indices, alpha_indices = data.bilevel_split(
        study.images.num_train, 0.5, seed
    )
    per_epoch = len(weight_indices) // study.batch_size
    epochs = max(1, round(study.steps / per_epoch))
    size = Size(study.channels, study.layers)
    build = family_of(mask.space).supernet
    network = build(mask, size, study.images.num_classes)
    weights, _ = training.sgd_cosine(
        0.025, per_epoch * epochs, steps_per_epoch=per_epoch, minimum=0.001
    )
    # The published rate is for 50 epochs; so few steps would leave alphas where they
    # begin.
    alphas = training.alpha_adam(3e-3)
    algorithm = oneshot.OneShotSearch(network, weights, alphas)
    start = time.perf_counter()
    step = oneshot.lower_step(
        algorithm,
        study.on_device,
        study.augment,
        study.batch_size,
        study.images.image_shape,
    ).compile()
    use, compiled = MemoryUse.of(step), time.perf_counter()
    ticks = [compiled]
    last: Mapping[str, Any] = {}

    def on_step(number: int, metrics: Mapping[str, Any], state: Any) -> None:
        nonlocal last
        del number, state
        jax.block_until_ready(metrics)
        last = metrics
        ticks.append(time.perf_counter())

    result = oneshot.search(
        algorithm,
        study.on_device,
        weight_indices,
        alpha_indices,
        augment=study.augment,
        image_shape=study.images.image_shape,
        epochs=epochs,
        batch_size=study.batch_size,
        seed=seed,
        compiled=step,
        on_step=on_step,
    )
    return result.genotype, {
        "search_compile_seconds": compiled - start,
        "search_seconds": ticks[-1] - compiled,
        "step_seconds": statistics.median(np.diff(ticks)[3:]),
        "steps": len(ticks) - 1,
        "step_peak_bytes": use.peak_bytes,
        "step_temp_bytes": use.temp_bytes,
        "valid_loss": float(last["valid_loss"]),
        "valid_accuracy": float(last["valid_accuracy"]),
    }


def retrain(
    study: Study,
    genotype: Genotype,
    seed: int,
    *,
    channels: int,
    layers: int,
    epochs: int,
) -> Row:
    """Test accuracy of a network trained from scratch."""
    images = study.images
    per_epoch = images.num_train // study.batch_size
    optimiser, _ = training.sgd_cosine(
        0.05, per_epoch * epochs, steps_per_epoch=per_epoch
    )
    build = family_of(genotype.space).network
    network = build(genotype, Size(channels, layers), images.num_classes)
    trainer = training.Trainer(
        network, optimiser, study.augment, study.prepare, images.image_shape
    )
    start = time.perf_counter()
    result = training.retrain(
        trainer,
        study.on_device,
        training.DeviceImages.put(images.x_test, images.y_test),
        epochs=epochs,
        batch_size=study.batch_size,
        seed=seed,
    )
    return {
        "accuracy": 100 * result.test_accuracy,
        "parameters": result.parameters,
        "retrain_seconds": time.perf_counter() - start,
    }


def architectures(mask: SpaceMask) -> list[Genotype]:
    """Every architecture of NAS-Bench-201 that a mask keeps."""
    (cell,) = mask.space.cells
    return [genotype_of(ops) for ops in itertools.product(*mask.cell(cell.name))]


def looked_up(accuracies: Mapping[str, float], mask: SpaceMask) -> Row:
    """Accuracies in percent of all architectures that a mask keeps."""
    kept = np.array([accuracies[str(g)] for g in architectures(mask)])
    return {
        "kept_mean": float(kept.mean()),
        "kept_best": float(kept.max()),
        "kept_worst": float(kept.min()),
    }
