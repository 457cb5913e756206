"""The search loop: batches from the device, one compiled step, callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from nas_jax.data import bilevel_epoch_order
from nas_jax.data.split import check_indices
from nas_jax.oneshot.algorithm import Metrics, OneShotAlgorithm, SearchState
from nas_jax.spaces import Genotype
from nas_jax.training.batches import Augment, DeviceImages
from nas_jax.training.loop import OnStep, run_epochs


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        probabilities: Weight of each operation `[edges, operations]` by cell name.
        initial: The same before the first step, also of a resumed search.
    """

    genotype: Genotype
    probabilities: dict[str, np.ndarray]
    state: SearchState
    initial: dict[str, np.ndarray]


def lower_step(
    algorithm: OneShotAlgorithm,
    data: DeviceImages,
    augment: Augment,
    batch_size: int,
    image_shape: tuple[int, int, int],
    sharding: jax.sharding.Sharding | None = None,
) -> jax.stages.Lowered:
    """The search step, traced from shapes alone and ready to compile.

    `(state, data, train index, valid index, key) -> (state, metrics)`: it gathers,
    augments and updates; the state is donated.

    Args:
        algorithm: The one-shot algorithm.
        data: All training images, or their shapes.
        augment: Applied to both batches.
        batch_size: Images in either batch.
        image_shape: Height, width and channels of a network input.
        sharding: Where every argument lies, on devices that may be absent; None is
            JAX's default device.
    """

    def step(
        state: SearchState, data: DeviceImages, train: Any, valid: Any, key: Any
    ) -> tuple[SearchState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        keys = jax.random.split(key)
        return algorithm.step(
            state,
            data.batch(train, keys[0], augment),
            data.batch(valid, keys[1], augment),
            jax.random.fold_in(key, 2),
        )

    key = jax.eval_shape(lambda: jax.random.key(0))
    index = jax.ShapeDtypeStruct((batch_size,), np.int32)
    state = abstract_state(algorithm, image_shape)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        (state, data, index, index, key),
    )
    return jax.jit(step, donate_argnums=0).lower(*arguments)


def abstract_state(
    algorithm: OneShotAlgorithm, image_shape: tuple[int, int, int]
) -> SearchState:
    """Shapes and dtypes of a search state."""
    state = algorithm.init(jax.random.key(0), image_shape)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


def search(
    algorithm: OneShotAlgorithm,
    data: DeviceImages,
    weight_indices: np.ndarray,
    alpha_indices: np.ndarray,
    *,
    augment: Augment,
    image_shape: tuple[int, int, int],
    epochs: int,
    batch_size: int,
    seed: int,
    compiled: jax.stages.Compiled | None = None,
    state: SearchState | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[int, SearchState], Any] | None = None,
) -> SearchResult:
    """Run a one-shot search; the same arguments give the same result.

    Args:
        algorithm: The one-shot algorithm.
        data: All training images.
        weight_indices: Examples that train the weights.
        alpha_indices: Examples that train the alphas.
        augment: Applied to every batch.
        image_shape: Height, width and channels of a network input.
        epochs: Passes over the examples of the weights.
        batch_size: Images in a batch, for weights and for alphas alike.
        seed: Draws initial values, orders and augmentation.
        compiled: What `lower_step` compiles to, where that has been done already.
        state: Where to go on from, after any step. None starts anew.
        on_step: Called after each step.
        on_epoch: Called after each epoch with the number of finished epochs.

    Raises:
        DataError: Indices are of no examples of `data`, or do not fill a batch.
    """
    for indices in (weight_indices, alpha_indices):
        check_indices(indices, data.labels.shape[0])
    key = jax.random.key(seed)
    init_key, step_key = jax.random.split(key)
    start = algorithm.init(init_key, image_shape)
    initial = algorithm.probabilities(start)
    state = start if state is None else state
    del start  # So that a resumed search does not hold two states.
    if compiled is None:
        lowered = lower_step(algorithm, data, augment, batch_size, image_shape)
        compiled = lowered.compile()
    state = run_epochs(
        lambda state, train, valid: compiled(state, data, train, valid, step_key),
        state,
        lambda epoch: bilevel_epoch_order(
            seed, epoch, weight_indices, alpha_indices, batch_size
        ),
        per_epoch=len(weight_indices) // batch_size,
        epochs=epochs,
        on_step=on_step,
        on_epoch=on_epoch,
    )
    return SearchResult(
        algorithm.genotype(state),
        algorithm.probabilities(state),
        state,
        initial,
    )
