"""What a network tells of its way from images to logits, for those who look on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Gate(NamedTuple):
    """The gates that multiply the outputs of K stacked layers, as they were applied.

    Attributes:
        values: `[K, B, C]`, one for each layer, image and channel; ones where none
            were given.
        fan_in: Number of weights of one channel: a number, or `[K]`.
        live: `[K]`, 1 for a layer that takes part and 0 for one that does not.
    """

    values: jax.Array
    fan_in: jax.Array | int
    live: jax.Array


class Observed(NamedTuple):
    """What a network tells of its way from images to logits; None where it cannot.

    Only what a proxy reads is in the compiled program.

    Attributes:
        logits: `[B, classes]`.
        features: `[B, F]`, what the classifier reads.
        feature_map: `[B, H, W, F]`, the features before they are pooled.
        relu_inputs: Pairs of what K stacked ReLUs receive, `[K, B, ...]`, and how many
            ReLUs receive it, `[K]`.
        variances: Pairs of the batch variances of K stacked batch normalisations,
            `[K, C]`, and how many of the network's have them, `[K]`.
        channels: The gates of the convolutions and linear layers.
    """

    logits: jax.Array | None = None
    features: jax.Array | None = None
    feature_map: jax.Array | None = None
    relu_inputs: list[tuple[jax.Array, jax.Array]] | None = None
    variances: list[tuple[jax.Array, jax.Array]] | None = None
    channels: list[Gate] | None = None


class Seen:
    """Notes of a forward pass, by which a network fills in `Observed`.

    Args:
        gates: The caller's gates, one array for each layer or stack of layers in the
            order in which the network asks for them; None where it gives none.
    """

    def __init__(self, gates: Sequence[jax.Array] | None) -> None:
        self._given = None if gates is None else iter(gates)
        self.relu_inputs: list[tuple[jax.Array, jax.Array]] = []
        self.variances: list[tuple[jax.Array, jax.Array]] = []
        self.channels: list[Gate] = []

    def relu(self, x: jax.Array) -> None:
        """Notes what one ReLU receives."""
        self.relu_inputs.append((x[None], jnp.ones(1)))

    def norm(self, variance: jax.Array) -> None:
        """Notes the variances `[C]` of one normalisation."""
        self.variances.append((variance[None], jnp.ones(1)))

    def gate(self, batch: int, channels: int, fan_in: int) -> jax.Array | None:
        """The gates `[B, C]` of one layer, None where none were given."""
        gates = self.stacked_gates((1, batch, channels), fan_in, jnp.ones(1))
        return None if gates is None else gates[0]

    def stacked_gates(
        self, shape: tuple[int, int, int], fan_in: jax.Array | int, live: jax.Array
    ) -> jax.Array | None:
        """The gates `[K, B, C]` of K layers, None where none were given."""
        given = None if self._given is None else next(self._given)
        values = jnp.ones(shape) if given is None else given
        self.channels.append(Gate(values, fan_in, live))
        return given
