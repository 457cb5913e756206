"""One-shot search composed of parts: what every bilevel algorithm has in common.

Parts and where they are put:

- how alphas become weights: `relaxation`;
- how alphas see the weights' own dependence on them: `hypergradient`;
- how a genotype is selected: `select`;
- penalties on alphas, warm-up and freezing: optax transformations before the optimiser
  of the alphas, as `optax.add_decayed_weights` and `optax.conditionally_mask` are;
- what an operation computes, and which channels it sees: the network.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks import AnySupernet, abstract_variables, init_variables
from nas_jax.oneshot.hypergradient import Hypergradient, first_order
from nas_jax.oneshot.objective import WEIGHTS, Batch, Objective, Value
from nas_jax.oneshot.relaxation import Relaxation, softmax
from nas_jax.spaces import Genotype, SpaceMask, discretise
from nas_jax.training.losses import loss_and_accuracy
from nas_jax.training.mesh import check_mesh

Metrics = dict[str, jax.Array]


class SearchState(NamedTuple):
    """All that a search carries from step to step; a pytree.

    Attributes:
        alphas: In the form that the relaxation gives them: `[edges, operations]` by
            cell name for a softmax.
        step: Number of finished steps, int32.
    """

    params: Any
    alphas: Any
    weight_state: optax.OptState
    alpha_state: optax.OptState
    step: jax.Array


class OneShotAlgorithm(Protocol):
    """What every one-shot algorithm offers; static choices are in its constructor."""

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> SearchState:
        """The state before the first step."""

    def step(
        self, state: SearchState, train_batch: Batch, valid_batch: Batch, key: jax.Array
    ) -> tuple[SearchState, Metrics]:
        """One pure, jittable step; the key draws whatever it draws."""

    def loss(self, state: SearchState, batch: Batch, key: jax.Array) -> Value:
        """Loss and accuracy of a batch, as the weights' part of a step has them."""

    def probabilities(self, state: SearchState) -> dict[str, np.ndarray]:
        """Weight of each operation `[edges, operations]` by cell name."""

    def genotype(self, state: SearchState) -> Genotype:
        """The discrete architecture of a state."""

    def learning_rate(self, step: int) -> Any:
        """Of the weights, by the number of finished steps: for the log."""


class OneShotSearch:
    """Bilevel search: the alphas move on one batch, the weights on another.

    Attributes:
        network: The supernet.
        learning_rate: See `OneShotAlgorithm`; NaN where it was not given.
    """

    def __init__(
        self,
        network: AnySupernet,
        weight_optimiser: optax.GradientTransformation,
        alpha_optimiser: optax.GradientTransformation,
        *,
        relaxation: Relaxation = softmax,
        hypergradient: Hypergradient = first_order,
        select: Callable[[SpaceMask, dict[str, np.ndarray]], Genotype] = discretise,
        microbatches: int = 1,
        learning_rate: Callable[[int], Any] = lambda step: math.nan,
    ) -> None:
        """Puts parts together; nothing is traced yet.

        Args:
            network: The supernet.
            weight_optimiser: Any optax transformation; `nas_jax.training` has DARTS'.
            alpha_optimiser: The same for the alphas.
            relaxation: How alphas become weights.
            hypergradient: How alphas see the weights.
            select: `(mask, expected weights) -> genotype`.
            microbatches: Parts of a batch, see `Objective`; they must divide it.
            learning_rate: Of the weights by the step, for the log.

        Raises:
            ConfigError: `select` does not take what the relaxation gives.
        """
        self.network, self.learning_rate = network, learning_rate
        self._weights, self._alphas = weight_optimiser, alpha_optimiser
        self._relaxation, self._hypergradient = relaxation, hypergradient
        self._select, self._microbatches = select, microbatches
        self._live = network.mask.arrays()
        # Parts that would not fit at the end of the search are refused now.
        alphas = relaxation.init(network.mask.space, jax.random.key(0))
        weights = relaxation.expected(alphas, self._live)
        try:
            select(network.mask, jax.tree.map(np.asarray, weights))
        except GenotypeError as error:
            raise ConfigError(
                "these parts of a search do not fit: what its relaxation expects is "
                f"refused by its select: {error}"
            ) from error

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> SearchState:
        """Fresh weights and alphas for images of a shape (height, width, channels)."""
        weight_key, alpha_key = jax.random.split(key)
        alphas = self._relaxation.init(self.network.mask.space, alpha_key)
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        shapes = abstract_variables(self.network, images)
        params = init_variables(weight_key, shapes)["params"]
        return SearchState(
            params,
            alphas,
            self._weights.init(params),
            self._alphas.init(alphas),
            jnp.zeros((), jnp.int32),
        )

    def step(
        self, state: SearchState, train_batch: Batch, valid_batch: Batch, key: jax.Array
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
        valid_key, train_key = jax.random.split(key)
        valid = self._objective(valid_batch, valid_key, step)
        train = self._objective(train_batch, train_key, step)

        def ahead(gradient: Any) -> Any:
            updates, _ = self._weights.update(gradient, weight_state, params)
            return optax.apply_updates(params, updates)

        # The alphas move on the validation batch.
        (valid_loss, valid_accuracy), gradient = self._hypergradient(
            valid, train, ahead, params, alphas
        )
        updates, alpha_state = self._alphas.update(gradient, alpha_state, alphas)
        alphas = optax.apply_updates(alphas, updates)

        # The weights move on the training batch, at the new alphas.
        (train_loss, train_accuracy), gradient = train.gradient(WEIGHTS, params, alphas)
        updates, weight_state = self._weights.update(gradient, weight_state, params)
        params = optax.apply_updates(params, updates)

        metrics = {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "valid_loss": valid_loss,
            "valid_accuracy": valid_accuracy,
        }
        return SearchState(params, alphas, weight_state, alpha_state, step + 1), metrics

    def loss(self, state: SearchState, batch: Batch, key: jax.Array) -> Value:
        """Loss and accuracy of a batch at the present weights and alphas."""
        return self._loss(key, state.step, state.params, state.alphas, batch)

    def probabilities(self, state: SearchState) -> dict[str, np.ndarray]:
        """Expected weights `[edges, operations]`; 0 for pruned ones."""
        weights = self._relaxation.expected(state.alphas, self._live)
        return {name: np.asarray(w) for name, w in weights.items()}

    def genotype(self, state: SearchState) -> Genotype:
        """What `select` makes of the expected weights."""
        return self._select(self.network.mask, self.probabilities(state))

    def _objective(self, batch: Batch, key: jax.Array, step: jax.Array) -> Objective:
        loss = functools.partial(self._loss, key, step)
        return Objective(loss, batch, self._microbatches)

    def _loss(
        self, key: Any, step: Any, params: Any, alphas: Any, batch: Batch, part: Any = 0
    ) -> Value:
        images, labels = batch
        # All parts of a batch see one draw of the architecture, each its own noise.
        mixture_key, network_key = jax.random.split(key)
        weights = self._relaxation.sample(alphas, self._live, mixture_key, step)
        network_key = jax.random.fold_in(network_key, part)
        logits = self.network.apply({"params": params}, images, weights, network_key)
        return loss_and_accuracy(logits, labels)
