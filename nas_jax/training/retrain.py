"""Train the network of a genotype from scratch, and test it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nas_jax.data import epoch_order
from nas_jax.data.labels import check_classes
from nas_jax.networks import (
    AnyNetwork,
    abstract_variables,
    init_variables,
    num_parameters,
)
from nas_jax.training.batches import Augment, DeviceImages
from nas_jax.training.loop import OnStep, run_epochs
from nas_jax.training.losses import loss_and_accuracy
from nas_jax.training.mesh import check_mesh


class TrainState(NamedTuple):
    """All that training carries from step to step; a pytree. `step` is int32."""

    params: Any
    batch_stats: Any
    optimiser_state: optax.OptState
    step: jax.Array


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """A trained network.

    Attributes:
        state: `state.params` and `state.batch_stats` are the network's variables.
        test_accuracy: Share of right answers on the test set.
        test_loss: Mean cross-entropy on the test set.
        parameters: Number of trainable numbers.
    """

    state: TrainState
    test_accuracy: float
    test_loss: float
    parameters: int


class Trainer:
    """Compiled training and test steps of one network.

    Attributes:
        network: The network.
        parameters: Number of trainable numbers.
    """

    def __init__(
        self,
        network: AnyNetwork,
        optimiser: optax.GradientTransformation,
        augment: Augment,
        prepare: Augment,
        image_shape: tuple[int, int, int],
    ) -> None:
        """Compiled at the first call of each step.

        `augment` is applied to training batches, `prepare`, which must not be random,
        to those of tests; `image_shape` is height, width and channels of an input.
        """
        self.network, self._optimiser = network, optimiser
        self._augment, self._prepare = augment, prepare
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        self._abstract = abstract_variables(network, images)
        self.parameters = num_parameters(self._abstract)
        self.step = jax.jit(self._step, donate_argnums=0)
        self._test = jax.jit(self._test_batch)

    def init(self, key: jax.Array) -> TrainState:
        """Fresh weights."""
        variables = init_variables(key, self._abstract)
        params, statistics = variables["params"], variables["batch_stats"]
        optimiser_state = self._optimiser.init(params)
        return TrainState(params, statistics, optimiser_state, jnp.int32(0))

    def _step(
        self, state: TrainState, data: DeviceImages, index: jax.Array, key: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        check_mesh(state, data)
        key = jax.random.fold_in(key, state.step)
        images, labels = data.batch(index, key, self._augment)
        noise = jax.random.fold_in(key, 1)  # For operations that draw.

        def loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            logits, changed = self.network.apply(
                variables, images, train=True, key=noise, mutable=["batch_stats"]
            )
            value, accuracy = loss_and_accuracy(logits, labels)
            return value, (accuracy, changed["batch_stats"])

        (value, (accuracy, stats)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params
        )
        updates, optimiser_state = self._optimiser.update(
            gradient, state.optimiser_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        new = TrainState(params, stats, optimiser_state, state.step + 1)
        return new, {"train_loss": value, "train_accuracy": accuracy}

    def _test_batch(
        self, state: TrainState, data: DeviceImages, index: jax.Array, valid: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        images, labels = data.batch(index, jax.random.key(0), self._prepare)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        noise = jax.random.fold_in(jax.random.key(0), index[0])
        logits = self.network.apply(variables, images, train=False, key=noise)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        right = (jnp.argmax(logits, axis=-1) == labels) & valid
        return jnp.sum(jnp.where(valid, losses, 0)), jnp.sum(right)

    def test(
        self, state: TrainState, data: DeviceImages, batch_size: int
    ) -> tuple[float, float]:
        """Mean loss and accuracy on every image, each counted once."""
        count = data.labels.shape[0]
        total, right = 0.0, 0
        for start in range(0, count, batch_size):
            # The last batch is filled up with images that do not count: one shape.
            index = np.arange(start, start + batch_size)
            loss, correct = self._test(
                state, data, np.minimum(index, count - 1), index < count
            )
            total, right = total + float(loss), right + int(correct)
        return total / count, right / count


def retrain(
    trainer: Trainer,
    data: DeviceImages,
    test_data: DeviceImages,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    state: TrainState | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[int, TrainState, float, float], Any] | None = None,
) -> TrainResult:
    """Train for some epochs and test after each; the last test is the result.

    Args:
        trainer: The compiled steps.
        data: Training images; what does not fill a batch is left out of an epoch.
        test_data: Test images.
        epochs: Passes over the training images.
        batch_size: Images in a batch.
        seed: Draws initial values, orders and augmentation.
        state: Where to go on from, after any step. None starts anew.
        on_step: Called after each step.
        on_epoch: Called after each epoch with the number of finished epochs, the
            state, and loss and accuracy on the test set.

    Raises:
        DataError: A label is of no class of the network, or the images do not fill a
            batch.
    """
    for images in (data, test_data):
        check_classes(np.asarray(images.labels), trainer.network.num_classes)
    init_key, step_key = jax.random.split(jax.random.key(seed))
    state = trainer.init(init_key) if state is None else state
    indices = np.arange(data.labels.shape[0], dtype=np.int32)
    tested: list[tuple[float, float]] = []

    def test(epoch: int, state: TrainState) -> None:
        tested.append(trainer.test(state, test_data, batch_size))
        if on_epoch is not None:
            on_epoch(epoch, state, *tested[-1])

    state = run_epochs(
        lambda state, index: trainer.step(state, data, index, step_key),
        state,
        lambda epoch: [epoch_order(seed, epoch, indices, batch_size)],
        per_epoch=len(indices) // batch_size,
        epochs=epochs,
        on_step=on_step,
        on_epoch=test,
    )
    loss, accuracy = (
        tested[-1] if tested else trainer.test(state, test_data, batch_size)
    )
    return TrainResult(state, accuracy, loss, trainer.parameters)
