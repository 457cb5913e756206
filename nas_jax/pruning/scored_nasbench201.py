"""NAS-Bench-201's supernet as proxies see it: what is alive in it is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks import NasBench201Supernet, mixture_weights, zero_alphas
from nas_jax.networks.nasbench201_supernet import live_layers
from nas_jax.proxies import Observed, ScoredNetwork

Live = Mapping[str, jax.Array | np.ndarray]


def scored_nasbench201(
    network: NasBench201Supernet, params: Any, live: Live
) -> ScoredNetwork:
    """The candidate that keeps the live operations, as proxies see it.

    All live operations of an edge weigh the same, as at the start of a search.

    Args:
        network: The supernet whose operations are the candidates.
        params: Its parameters, shared by all candidates.
        live: `{"cell": [6, 5]}`, 0 or 1; may be traced.
    """
    space = network.mask.space
    weights = mixture_weights(zero_alphas(space), live)

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        out = network.clone(norm=norm).apply({"params": params}, images, weights)
        assert isinstance(out, jax.Array)
        return out

    def observe(
        params: Any, images: jax.Array, *, norm: Any, gates: Any = None
    ) -> Observed:
        told = network.clone(norm=norm).apply(
            {"params": params}, images, weights, gates, method="observe"
        )
        assert isinstance(told, Observed)
        return told

    def macs(image_shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(network.macs(image_shape, weights))

    (cell,) = space.cells
    counts = {
        op: jnp.sum(jnp.asarray(live[cell.name])[:, column])
        for column, op in enumerate(cell.ops)
    }
    alive = live_layers(network, params, weights)
    return ScoredNetwork(logits, params, alive, observe, macs, counts)
