"""A DARTS supernet as proxies see it: what is alive in it is an argument."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks import Supernet, mixture_weights, sown, zero_alphas
from nas_jax.networks.backbone import places
from nas_jax.networks.liveness import live_layers
from nas_jax.proxies import Observed, ScoredNetwork
from nas_jax.proxies.layerwise import is_kernel

Live = Mapping[str, jax.Array | np.ndarray]


def scored_supernet(network: Supernet, params: Any, live: Live) -> ScoredNetwork:
    """The candidate that keeps the live operations, as proxies see it.

    All live operations of an edge weigh the same, as at the start of a search.

    Args:
        network: The supernet whose operations are the candidates.
        params: Its parameters, shared by all candidates.
        live: 0/1 arrays `[edges, operations]` by cell name; may be traced.
    """
    weights = mixture_weights(zero_alphas(network.mask.space), live)

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        out = network.clone(norm=norm).apply({"params": params}, images, weights)
        assert isinstance(out, jax.Array)
        return out

    def observe(
        params: Any, images: jax.Array, *, norm: Any, gates: Any = None
    ) -> Observed:
        def apply(variables: Any, **keywords: Any) -> Any:
            return network.clone(norm=norm).apply(
                variables, images, weights, **keywords
            )

        return sown.observe(apply, params, gates)

    alive = live_layers(network, params, weights)
    return ScoredNetwork(
        logits,
        params,
        alive,
        observe,
        functools.partial(supernet_macs, network, params, alive),
        count_operations(network, live),
    )


def supernet_macs(
    network: Supernet, params: Any, alive: Any, image_shape: tuple[int, ...]
) -> jax.Array:
    """Multiply-accumulates of the live convolutions and the classifier, a scalar.

    A convolution uses each of its weights once for every output pixel, depthwise or
    not, and all operations of a cell run at the cell's output size: a stride is in the
    first convolution. Mixing, normalisation and pools are not counted.

    Args:
        network: The supernet.
        params: Its parameters, values or shapes.
        alive: 0/1 for each layer, see `live_layers`.
        image_shape: Height, width and channels.
    """
    pixels = math.prod(image_shape[:2])
    sizes = {"stem": pixels, "classifier": 1}
    inputs = {}
    for index, place in enumerate(places(network.channels, network.layers)):
        inputs[f"cell_{index}"] = pixels
        pixels //= 4 if place.reduction else 1
        sizes[f"cell_{index}"] = pixels

    def one(path: tuple[Any, ...], alive: jax.Array, weight: jax.Array) -> jax.Array:
        if not is_kernel(alive, weight):
            return jnp.zeros(())
        names = [key.key for key in path]
        size = sizes[names[0]]
        if names[1].startswith("preprocess"):
            size = inputs[names[0]]
        return jnp.sum(alive) * float(math.prod(weight.shape[alive.ndim :]) * size)

    terms = jax.tree_util.tree_map_with_path(one, alive, dict(params))
    return jnp.sum(jnp.stack(jax.tree.leaves(terms)))


def count_operations(network: Supernet, live: Live) -> dict[str, jax.Array]:
    """How many edges of the space's cells have each operation alive, by its name."""
    counts: dict[str, jax.Array] = {}
    for cell in network.mask.space.cells:
        for column, op in enumerate(cell.ops):
            here = jnp.sum(jnp.asarray(live[cell.name])[:, column])
            counts[op] = counts[op] + here if op in counts else here
    return counts
