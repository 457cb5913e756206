"""ZiCo: how steady the gradient is from one batch to the next."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.data.labels import check_batch_labels
from nas_jax.errors import ConfigError
from nas_jax.proxies.gradient import network_loss
from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import registered

ZICO_BATCHES = 2
"""Batches of Li et al. 2023 (arXiv 2301.11300; `--maxbatch 2`)."""


def signal_to_noise(gradients: jax.Array) -> jax.Array:
    """mean_b |g| / std_b(g) of each weight, `[batches, ...] -> [...]`.

    0 where all batches have the same gradient: such weights are left out. NaN where a
    gradient is. The deviation is the population's, as in the public code
    (compute_zico.py).
    """
    std = jnp.std(gradients, axis=0)
    mean = jnp.mean(jnp.abs(gradients), axis=0)
    return jnp.where(std == 0, 0, mean / jnp.where(std == 0, 1, std))


@registered(
    title="ZiCo",
    cost="2 forward and backward passes of half a batch",
    needs_labels=True,
    needs_gradient=True,
    reference="arXiv 2301.11300, definition of ZiCo",
    intermediate="half_gradients",
)
def zico(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum_l log sum_w mean_b |g_w| / std_b(g_w), over the layers' weights.

    Li et al. 2023 (arXiv 2301.11300), definition of ZiCo. The two batches are the two
    halves of the given one; an odd last image is left out. A layer without any varying
    gradient adds nothing.

    Raises:
        ConfigError: If the batch has fewer than two images.
        DataError: If its labels are no classes.
    """
    half = batch.images.shape[0] // ZICO_BATCHES
    if half == 0:
        raise ConfigError(
            f"zico splits a batch into {ZICO_BATCHES}, and this one has "
            f"{batch.images.shape[0]} image; give it at least {ZICO_BATCHES}"
        )
    # Within the loop below they are traced, and not known.
    check_batch_labels(batch.labels, *network.logits_shape(batch))
    parts = jax.tree.map(
        lambda x: x[: ZICO_BATCHES * half].reshape(ZICO_BATCHES, half, *x.shape[1:]),
        batch,
    )
    gradient = jax.grad(lambda p, part: network_loss(network, p, part))
    # One after the other: the backward pass is the memory.
    gradients = jax.lax.map(lambda part: gradient(network.params, part), parts)
    ratios = jax.tree.map(signal_to_noise, gradients)
    return sum_over_weights(
        lambda ratio: ratio,
        network.live,
        ratios,
        per_layer=lambda s: jnp.where(s == 0, 0, jnp.log(jnp.where(s == 0, 1, s))),
    )
