"""Synaptic flow: saliency of a linearised network that never sees data."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.proxies.proxy import Batch, Params, Proxy, ScoredNetwork, register_proxy


def synflow(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """sum |W * dR/dW| with R the sum of the logits of an all-ones image.

    Weights are replaced by their absolute values and batch normalisation by the
    identity. Tanaka et al. 2020 (arXiv 2006.05467), equation 2 and algorithm 1, summed
    as in Abdelfattah et al. 2021 (arXiv 2101.08134), equation 1.
    """
    ones = jnp.ones((1, *batch.images.shape[1:]), batch.images.dtype)
    magnitudes = jax.tree.map(jnp.abs, network.params)

    def flow(params: Params) -> jax.Array:
        return jnp.sum(network.logits(params, ones, norm="identity"))

    gradient = jax.grad(flow)(magnitudes)
    return sum_over_weights(
        lambda w, g: jnp.abs(w * g), lambda s: s, network.live, magnitudes, gradient
    )


SYNFLOW = register_proxy(
    Proxy(
        "synflow",
        synflow,
        higher_is_better=True,
        needs_labels=False,
        needs_gradient=True,
        norm="identity",
        input_kind="ones",
        reference="arXiv 2006.05467, equation 2; arXiv 2101.08134, equation 1",
    )
)
