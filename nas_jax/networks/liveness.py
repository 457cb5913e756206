"""Which weights of a supernet belong to operations that are alive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.networks.backbone import places
from nas_jax.networks.plan import plan_supernet
from nas_jax.networks.supernet import ArchWeights, Supernet


def live_layers(
    network: Supernet, params: Mapping[str, Any], arch_weights: ArchWeights
) -> dict[str, Any]:
    """1 for every layer whose operation has a weight above zero, else 0.

    A stacked parameter holds one layer for each stacked operation, so its entry has
    the stack's axis; the other axes of the parameter belong to the layer.

    Args:
        network: The supernet.
        params: Its parameters, values or shapes.
        arch_weights: `[edges, operations]` by cell name; zero where not alive.

    Returns:
        The tree of `params` with float32 arrays `[K]`, or `[]` for unstacked leaves.
    """
    cells = places(network.channels, network.layers)
    plans = {
        c.name: plan_supernet(network.mask, c.name) for c in network.mask.space.cells
    }

    def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        names = [key.key for key in path]
        if names[0] in ("stem", "classifier"):
            return jnp.ones(leaf.shape[:1] if names[-2] == "norm" else ())
        if names[1].startswith("preprocess"):
            return jnp.ones(leaf.shape[:1])
        place = cells[int(names[0].removeprefix("cell_"))]
        ops = plans[place.name].named(names[1], place.reduction)
        weights = arch_weights[place.name]
        return jnp.stack([(weights[o.edge, o.column] > 0) * 1.0 for o in ops])

    return jax.tree_util.tree_map_with_path(entry, dict(params))
