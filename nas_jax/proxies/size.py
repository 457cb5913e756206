"""Proxies that only count."""

from __future__ import annotations

import jax

from nas_jax.proxies.layerwise import count_parameters
from nas_jax.proxies.proxy import Batch, Proxy, ScoredNetwork, register_proxy


def params(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """Number of parameters of the layers that take part, as a float."""
    del batch
    return count_parameters(network.live, network.params)


PARAMS = register_proxy(
    Proxy(
        "params",
        params,
        higher_is_better=True,
        needs_labels=False,
        needs_gradient=False,
        norm="batch",
        input_kind="none",
        reference="baseline of arXiv 2101.08134",
    )
)
