"""Synaptic flow: saliency of a linearised network that never sees data."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.proxies.network import Batch, Params, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered

_FLOW: Facts = {
    "cost": "1 forward and backward pass of one image",
    "needs_gradient": True,
    "norm": "identity",
    "input_kind": "ones",
    "intermediate": "flow_gradient",
    "float64": True,
}


def flow_gradient(network: ScoredNetwork, batch: Batch) -> tuple[Params, Params]:
    """|W| and dR/d|W| with R the sum of the logits of an all-ones image.

    Weights are replaced by their absolute values and batch normalisation by the
    identity. Tanaka et al. 2020 (arXiv 2006.05467), equation 2 and algorithm 1.

    Computed in float64 where JAX has it enabled, else in float32: R grows like the
    product of the layers' fan-ins times their weights, so the value of a deep or wide
    network can leave the range of float32 and is then infinite.
    """
    dtype = jnp.zeros((), float).dtype
    ones = jnp.ones((1, *batch.images.shape[1:]), dtype)

    def flow(params: Params) -> jax.Array:
        return jnp.sum(network.logits(params, ones, norm="identity"))

    def compute() -> tuple[Params, Params]:
        magnitudes = jax.tree.map(lambda w: jnp.abs(w).astype(dtype), network.params)
        return magnitudes, jax.grad(flow)(magnitudes)

    return network.shared("flow_gradient", batch, compute)


@registered(
    title="SynFlow",
    reference="arXiv 2006.05467, equation 2; arXiv 2101.08134, equation 1",
    **_FLOW,
)
def synflow(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum |W * dR/dW|, the score of `flow_gradient`'s network.

    Tanaka et al. 2020 (arXiv 2006.05467), equation 2, summed as in Abdelfattah et al.
    2021 (arXiv 2101.08134), equation 1. Not the logarithm, which NASLib reports: it
    changes no ranking. Infinite where it overflows (see `failures`): enable float64
    (`jax.enable_x64`), or use `logsynflow`.
    """
    return sum_over_weights(
        lambda w, g: jnp.abs(w * g), network.live, *flow_gradient(network, batch)
    )


@registered(title="LogSynflow", reference="arXiv 2207.05135, LogSynflow", **_FLOW)
def logsynflow(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum |W| * log(|dR/dW| + 1), the score of `flow_gradient`'s network.

    Cavagnero et al. 2023 (FreeREA, arXiv 2207.05135), LogSynflow: without batch
    normalisation, as there; ETE-NAS keeps it.
    """
    return sum_over_weights(
        lambda w, g: w * jnp.log1p(jnp.abs(g)),
        network.live,
        *flow_gradient(network, batch),
    )
