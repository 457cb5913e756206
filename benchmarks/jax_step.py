"""Our search step, as the search command runs it, in the variants that are compared."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np

from benchmarks.problem import NUM_CLASSES, Problem
from nas_jax import data
from nas_jax.networks import Supernet
from nas_jax.oneshot import OneShotSearch, darts, lower_step
from nas_jax.training import DeviceImages


@dataclasses.dataclass(frozen=True)
class Variant:
    """How we compute it.

    Attributes:
        mask: What `Problem.mask` takes.
        remat: What the backward pass computes again.
        dtype: Number type of the activations.
    """

    mask: str
    remat: str
    dtype: str


def algorithm(problem: Problem, variant: Variant) -> OneShotSearch:
    """First-order DARTS with its published constants."""
    network = Supernet(
        problem.mask(variant.mask),
        problem.channels,
        problem.cells,
        NUM_CLASSES,
        remat=variant.remat,  # type: ignore[arg-type]
        dtype=variant.dtype,  # type: ignore[arg-type]
    )
    return darts(network, total_steps=50)


def lower(problem: Problem, variant: Variant) -> jax.stages.Lowered:
    """The traced step: gather and augment both batches as for CIFAR, update."""
    size = problem.image_size
    shape = (problem.num_images, size, size, 3)
    return lower_step(
        algorithm(problem, variant),
        DeviceImages(
            jax.ShapeDtypeStruct(shape, np.uint8),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct(shape[:1], np.int32),  # type: ignore[arg-type]
        ),
        functools.partial(
            data.augment, mean=(0.5,) * 3, std=(0.25,) * 3, crop_padding=4, flip=True
        ),
        problem.batch,
        shape[1:],
    )


class JaxStep:
    """A compiled step with its state and data, ready to be timed."""

    def __init__(self, problem: Problem, variant: Variant) -> None:
        """Trace, compile or load, and draw weights and images."""
        self._compiled = lower(problem, variant).compile()
        size, count = problem.image_size, problem.num_images
        rng = np.random.default_rng(problem.seed)
        self._data = DeviceImages.put(
            rng.integers(256, size=(count, size, size, 3), dtype=np.uint8),
            rng.integers(NUM_CLASSES, size=count),
        )
        self._train, self._valid = np.arange(count, dtype=np.int32).reshape(2, -1)
        self._key = jax.random.key(problem.seed)
        self._state: Any = algorithm(problem, variant).init(self._key, (size, size, 3))

    def __call__(self) -> float:
        """Seconds of one step, until all its results are there."""
        start = time.perf_counter()
        self._state, metrics = self._compiled(
            self._state, self._data, self._train, self._valid, self._key
        )
        jax.block_until_ready((self._state, metrics))
        seconds = time.perf_counter() - start
        assert np.isfinite(metrics["train_loss"])
        return seconds
