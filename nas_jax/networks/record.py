"""The one recorder of what a network does between images and logits.

Whoever computes a layer tells a `Recorder` of it, where somebody looks on; nothing is
kept, and nothing is in the compiled program, where nobody does.

Shapes: K stacked layers, B batch, H and W image, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


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
        macs: Multiply-accumulates for one image, a scalar: those of convolutions,
            padding included, and of linear layers, whose biases are one each.
    """

    logits: jax.Array | None = None
    features: jax.Array | None = None
    feature_map: jax.Array | None = None
    relu_inputs: list[tuple[jax.Array, jax.Array]] | None = None
    variances: list[tuple[jax.Array, jax.Array]] | None = None
    channels: list[Gate] | None = None
    macs: jax.Array | None = None


class Notes(NamedTuple):
    """What a `Recorder` was told; a pytree."""

    relu_inputs: list[tuple[jax.Array, jax.Array]]
    variances: list[tuple[jax.Array, jax.Array]]
    channels: list[Gate]
    macs: list[jax.Array]


class Recorder:
    """Takes notes of a forward pass, and hands out the caller's gates.

    Args:
        gates: The caller's gates, one array for each stack of layers in the order in
            which the network computes them; None where it gives none.
    """

    def __init__(self, gates: Sequence[jax.Array] | None = None) -> None:
        self._given = None if gates is None else iter(gates)
        self.notes = Notes([], [], [], [])

    def relu(self, x: jax.Array, count: jax.Array) -> None:
        """Notes what ReLUs receive.

        Args:
            x: Inputs `[K, B, ...]` of K stacked ReLUs.
            count: `[K]`, how many ReLUs of the network receive them.
        """
        self.notes.relu_inputs.append((x, count))

    def variance(self, variance: jax.Array, count: jax.Array) -> None:
        """Notes batch variances `[K, C]`, and how many normalisations have them."""
        self.notes.variances.append((variance, count))

    def layer(
        self,
        shape: tuple[int, int, int],
        fan_in: jax.Array | int,
        live: jax.Array,
        pixels: int,
    ) -> jax.Array | None:
        """Notes K stacked convolutions or linear layers.

        Args:
            shape: K, B and C of what they compute.
            fan_in: Number of weights of one channel: for all, or for each.
            live: `[K]`, 1 for a layer that takes part and 0 for one that does not.
            pixels: Pixels of what they compute for one image.

        Returns:
            Their gates `[K, B, C]`, None where none were given.
        """
        gates = None if self._given is None else next(self._given)
        values = jnp.ones(shape) if gates is None else gates
        self.notes.channels.append(Gate(values, fan_in, live))
        weights = jnp.sum(live * jnp.asarray(fan_in, live.dtype)).astype(float)
        self.notes.macs.append(weights * float(shape[-1] * pixels))
        return gates

    def scan(
        self,
        body: Callable[[Recorder, Any, Any], Any],
        start: Any,
        rows: Any,
        length: int,
        again: bool,
    ) -> Any:
        """`scan` below, with notes of every turn."""
        # Read here: how often the loop runs is not known from parameters of no layer.
        of_one = jax.eval_shape(
            lambda x, rows: _turn(body, x, (_first(rows), None))[1], start, rows
        )
        gates = None
        if self._given is not None:
            gates = [
                next(self._given).reshape(length, *gate.values.shape)
                for gate in of_one.channels
            ]

        def turn(x: Any, own: Any) -> Any:
            return _turn(body, x, own)

        run = jax.checkpoint(turn, prevent_cse=False) if again else turn
        end, notes = lax.scan(run, start, (rows, gates), length=length)
        self.notes.macs.extend(jnp.sum(m, axis=0) for m in notes.macs)
        merged = jax.tree.map(_merge, notes._replace(macs=[]))
        self.notes.relu_inputs.extend(merged.relu_inputs)
        self.notes.variances.extend(merged.variances)
        self.notes.channels.extend(merged.channels)
        return end

    def observed(
        self, logits: jax.Array, features: jax.Array, feature_map: jax.Array
    ) -> Observed:
        """All that was told, with the end of the network."""
        relu_inputs, variances, channels, macs = self.notes
        total = jnp.sum(jnp.stack(macs))
        return Observed(
            logits, features, feature_map, relu_inputs, variances, channels, total
        )


def scan(
    record: Recorder | None,
    body: Callable[[Recorder | None, Any, Any], Any],
    start: Any,
    rows: Any,
    length: int,
    *,
    again: bool = False,
) -> Any:
    """Turns of one loop: `x = body(record, x, row)` for every row.

    Args:
        record: Takes notes of every turn, which are then those of stacked layers.
        body: Computes a turn.
        start: What the first turn gets.
        rows: A tree of arrays `[length, ...]`.
        length: Number of turns.
        again: Whether the backward pass computes a turn again.
    """
    if record is not None:
        return record.scan(body, start, rows, length, again)

    def turn(x: Any, row: Any) -> Any:
        return body(None, x, row), None

    run = jax.checkpoint(turn, prevent_cse=False) if again else turn
    return lax.scan(run, start, rows, length=length)[0]


def _turn(body: Callable[..., Any], x: Any, own: Any) -> tuple[Any, Notes]:
    row, gates = own
    inner = Recorder(gates)
    x = body(inner, x, row)
    # A number of weights that all layers share is a constant of the loop.
    channels = [
        Gate(values, jnp.broadcast_to(jnp.asarray(fan_in), live.shape), live)
        for values, fan_in, live in inner.notes.channels
    ]
    return x, inner.notes._replace(channels=channels)


def _first(rows: Any) -> Any:
    return jax.tree.map(lambda array: array[0], rows)


def _merge(array: jax.Array) -> jax.Array:
    """`[N, K, ...] -> [N K, ...]`."""
    return array.reshape(-1, *array.shape[2:])
