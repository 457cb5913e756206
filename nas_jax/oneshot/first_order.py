"""First-order DARTS: alternate a step of the alphas and a step of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nas_jax.errors import ConfigError
from nas_jax.networks import (
    AnySupernet,
    abstract_variables,
    init_alphas,
    init_variables,
    mixture_weights,
)
from nas_jax.spaces import Genotype, discretise
from nas_jax.training.losses import loss_and_accuracy
from nas_jax.training.mesh import check_mesh

Batch = tuple[jax.Array, jax.Array]
Metrics = dict[str, jax.Array]


class SearchState(NamedTuple):
    """All that a search carries from step to step; a pytree.

    Attributes:
        params: Weights of the supernet.
        alphas: Architecture parameters `[edges, operations]` by cell name.
        weight_state: State of the weights' optimiser.
        alpha_state: State of the alphas' optimiser.
        step: Number of finished steps, int32.
    """

    params: Any
    alphas: dict[str, jax.Array]
    weight_state: optax.OptState
    alpha_state: optax.OptState
    step: jax.Array


class OneShotAlgorithm(Protocol):
    """What every one-shot algorithm offers; static choices are in its constructor."""

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> SearchState:
        """The state before the first step."""

    def step(
        self, state: SearchState, train_batch: Batch, valid_batch: Batch
    ) -> tuple[SearchState, Metrics]:
        """One pure, jittable step."""

    def probabilities(self, state: SearchState) -> dict[str, np.ndarray]:
        """Weight of each operation `[edges, operations]` by cell name."""

    def genotype(self, state: SearchState) -> Genotype:
        """The discrete architecture of a state."""


class FirstOrderDarts:
    """Liu et al. 2019 (arXiv 1806.09055), algorithm 1 with xi = 0.

    The alphas move on the validation batch, at the present weights; then the weights
    move on the training batch, at the new alphas.
    """

    def __init__(
        self,
        network: AnySupernet,
        weight_optimiser: optax.GradientTransformation,
        alpha_optimiser: optax.GradientTransformation,
        microbatches: int = 1,
    ) -> None:
        """Nothing is traced yet.

        Args:
            network: The supernet.
            weight_optimiser: Any optax transformation; those of DARTS are in
                `nas_jax.training`.
            alpha_optimiser: The same for the alphas.
            microbatches: Parts of a batch that are computed one after another, and
                whose gradients are averaged: activations of one part exist at a time.
                Each part is normalised by its own statistics, as on one of several
                devices; without batch statistics the result is that of the whole batch
                up to rounding. They must divide the batch: `step` raises ConfigError
                where they do not.
        """
        self.network = network
        self._microbatches = microbatches
        self._weights = weight_optimiser
        self._alphas = alpha_optimiser
        self._live = network.mask.arrays()

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> SearchState:
        """Fresh weights and alphas for images of a shape (height, width, channels)."""
        weight_key, alpha_key = jax.random.split(key)
        alphas = init_alphas(self.network.mask.space, alpha_key)
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        shapes = abstract_variables(self.network, images, alphas)
        params = init_variables(weight_key, shapes)["params"]
        return SearchState(
            params,
            alphas,
            self._weights.init(params),
            self._alphas.init(alphas),
            jnp.zeros((), jnp.int32),
        )

    def step(
        self, state: SearchState, train_batch: Batch, valid_batch: Batch
    ) -> tuple[SearchState, Metrics]:
        """One step on two batches of float images `[B, H, W, C]` and labels `[B]`.

        The batches may be split over a mesh whose axes are Auto.

        Returns:
            The new state, and `valid_loss`, `valid_accuracy` (before the alphas move),
            `train_loss` and `train_accuracy` (before the weights move).

        Raises:
            ConfigError: An array lies on a mesh with explicit axes, or the microbatches
                do not divide a batch.
        """
        check_mesh(state, train_batch, valid_batch)
        params, alphas, weight_state, alpha_state, step = state
        (valid_loss, valid_accuracy), gradient = self._gradient(
            lambda alphas, batch: self._loss(params, alphas, batch), alphas, valid_batch
        )
        updates, alpha_state = self._alphas.update(gradient, alpha_state, alphas)
        alphas = optax.apply_updates(alphas, updates)
        (train_loss, train_accuracy), gradient = self._gradient(
            lambda params, batch: self._loss(params, alphas, batch), params, train_batch
        )
        updates, weight_state = self._weights.update(gradient, weight_state, params)
        params = optax.apply_updates(params, updates)
        metrics = {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
        }
        return SearchState(params, alphas, weight_state, alpha_state, step + 1), metrics

    def probabilities(self, state: SearchState) -> dict[str, np.ndarray]:
        """Masked softmax of the alphas `[edges, operations]`; 0 for pruned ones."""
        weights = mixture_weights(state.alphas, self._live)
        return {name: np.asarray(w) for name, w in weights.items()}

    def genotype(self, state: SearchState) -> Genotype:
        """DARTS' discretisation of the present alphas."""
        return discretise(self.network.mask, self.probabilities(state))

    def _gradient(
        self, loss: Callable[[Any, Batch], Any], argument: Any, batch: Batch
    ) -> tuple[tuple[jax.Array, jax.Array], Any]:
        """Mean loss, accuracy and gradient over the microbatches of a batch.

        Raises:
            ConfigError: The microbatches do not divide the batch.
        """
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        if self._microbatches == 1:
            return value_and_grad(argument, batch)
        count, size = self._microbatches, len(batch[1])
        if size % count:
            raise ConfigError(
                f"{count} microbatches do not divide a batch of {size}; give a number "
                "of microbatches that divides it, or another batch size"
            )
        parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
        first = jax.tree.map(lambda x: x[0], parts)
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(value_and_grad, argument, first),
        )

        def add(total: Any, part: Batch) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, value_and_grad(argument, part)), None

        total, _ = jax.lax.scan(add, zeros, parts)
        mean: tuple[tuple[jax.Array, jax.Array], Any] = jax.tree.map(
            lambda x: x / count, total
        )
        return mean

    def _loss(
        self, params: Any, alphas: dict[str, jax.Array], batch: Batch
    ) -> tuple[jax.Array, jax.Array]:
        images, labels = batch
        weights = mixture_weights(alphas, self._live)
        logits: Any = self.network.apply({"params": params}, images, weights)
        assert isinstance(logits, jax.Array)
        return loss_and_accuracy(logits, labels)
