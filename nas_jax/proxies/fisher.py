"""Fisher information of the channels, as a change of the loss when one goes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from nas_jax.proxies.gradient import cross_entropy
from nas_jax.proxies.network import Batch, Gate, ScoredNetwork
from nas_jax.proxies.proxy import registered, require


def fisher_of_gates(gates: list[Gate], gradients: list[jax.Array]) -> jax.Array:
    """sum over layers and channels of weights * |1/2 mean_n (dL/d gate_n)^2|.

    Args:
        gates: The layers.
        gradients: `[K, B, C]` for each, of the batch's mean loss.
    """
    total = jnp.zeros(())
    for gate, gradient in zip(gates, gradients, strict=True):
        channel = 0.5 * jnp.mean(jnp.square(gradient), axis=1)
        weights = jnp.broadcast_to(jnp.asarray(gate.fan_in), gate.live.shape)
        total += jnp.sum(gate.live * weights * jnp.sum(channel, axis=-1))
    return total


@registered(
    title="Fisher",
    cost="1 forward and backward pass",
    needs_labels=True,
    needs_gradient=True,
    reference="arXiv 1801.05787; arXiv 1906.04113; arXiv 2101.08134, equation 2",
    needs=("channels", "logits"),
    intermediate="channel_gradient",
)
def fisher(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum over layers and channels of fan_in * |1/2 mean_n (sum_hw a dL/da)^2|.

    With a the output of a convolution or linear layer, biases included. Theis et al.
    2018 (arXiv 1801.05787); Turner et al. 2020 (arXiv 1906.04113), Fisher potential;
    as a proxy Abdelfattah et al. 2021 (arXiv 2101.08134), equation 2. As in
    zero-cost-nas, each weight of a channel counts the channel's value, hence the factor
    fan_in, and L is the mean over the batch and not one image's loss, which divides
    the score by B^2. Scores of other batch sizes do not compare.

    sum_hw a dL/da is the derivative of the loss by a gate that multiplies the channel.
    """
    run = functools.partial(network.tell, network.params, batch.images)
    channels = require("fisher", "channels", jax.eval_shape(run).channels)
    ones = [jnp.ones(gate.values.shape, gate.values.dtype) for gate in channels]

    def loss(gates: list[jax.Array]) -> tuple[jax.Array, list[Gate]]:
        seen = run(gates=gates)
        logits = require("fisher", "logits", seen.logits)
        assert seen.channels is not None
        return cross_entropy(logits, batch.labels), seen.channels

    gradients, gates = jax.grad(loss, has_aux=True)(ones)
    return fisher_of_gates(gates, gradients)
