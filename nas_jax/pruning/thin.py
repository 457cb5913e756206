"""TE-NAS' thin network as proxies see it: what is alive in it is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks import mixture_weights, zero_alphas
from nas_jax.networks.thin_darts import ThinDarts, edges_by_source
from nas_jax.proxies import Observed, ScoredNetwork

ROWS_AT_ONCE = 16
"""Cotangents side by side: TE-NAS has 14 images, and a thin network is small."""


def scored_thin(
    network: ThinDarts, params: Any, live: Mapping[str, jax.Array | np.ndarray]
) -> ScoredNetwork:
    """The candidate that keeps the live operations, as proxies see it.

    All live operations of an edge weigh the same. Without a stem, the network reads
    images of one channel.

    Args:
        network: The thin network whose operations are the candidates.
        params: Its parameters, shared by all candidates.
        live: 0/1 arrays `[edges, operations]` by cell name; may be traced.
    """
    weights = mixture_weights(zero_alphas(network.space), live)

    def observe(
        params: Any, images: jax.Array, *, norm: Any, gates: Any = None
    ) -> Observed:
        assert gates is None, "a thin network does not tell its channels"
        return network.observed(params, images, weights, norm)

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        result = observe(params, images, norm=norm).logits
        assert result is not None
        return result

    return ScoredNetwork(
        logits,
        params,
        live_thin_layers(network, params, weights),
        observe,
        rows_at_once=ROWS_AT_ONCE,
    )


def live_thin_layers(
    network: ThinDarts, params: Any, weights: Mapping[str, jax.Array]
) -> Any:
    """1 for every layer whose operation has a weight above zero, else 0.

    Args:
        network: The thin network.
        params: Its parameters, values or shapes.
        weights: `[edges, operations]` by cell name; zero where not alive.

    Returns:
        The tree of `params`; an array for each stack of edges, `[]` for the others.
    """
    cells = {cell.name: cell for cell in network.space.cells}

    def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        cell = cells.get(path[0].key)
        if cell is None or path[1].key not in cell.ops:
            return jnp.ones(())
        order = np.array(edges_by_source(cell))[: leaf.shape[0]]
        column = cell.ops.index(path[1].key)
        return (weights[cell.name][order, column] > 0).astype(jnp.float32)

    return jax.tree_util.tree_map_with_path(entry, dict(params))
