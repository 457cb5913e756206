"""Zen-Score: how strongly Gaussian noise moves the features of a Gaussian network."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import is_kernel, is_scale
from nas_jax.proxies.network import Batch, Params, ScoredNetwork, gaussian
from nas_jax.proxies.proxy import registered, require

ZEN_MIXUP = 0.01
"""Size of the disturbance, alpha of Lin et al. 2021 (arXiv 2102.01063)."""


def gaussian_weights(key: jax.Array, live: Params, params: Params) -> Params:
    """Kernels from N(0, 1), factors of normalisations 1, everything else 0.

    ZenNAS, `network_weight_gaussian_init` (arXiv 2102.01063).
    """
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    keys = jax.random.split(key, len(paths))
    values = [
        gaussian(key, array.shape, array.dtype)
        if is_kernel(alive, array)
        else jnp.full(array.shape, float(is_scale(path)), array.dtype)
        for key, (path, array), alive in zip(
            keys, paths, jax.tree.leaves(live), strict=True
        )
    ]
    return jax.tree_util.tree_unflatten(tree, values)


def zen_score(
    feature_map: jax.Array,
    disturbed: jax.Array,
    variances: list[tuple[jax.Array, jax.Array]],
) -> jax.Array:
    """log mean_b sum |f(x) - f(x + 0.01 e)| + sum_BN log sqrt(mean_c variance_c).

    Lin et al. 2021 (arXiv 2102.01063), algorithm 1. The variances are the batch's, as
    in the paper; the public code reads running ones, which start at 1 and are never 0.
    The terms undo what normalisations do to the features' size. One that normalises
    nothing but zeros, as behind a node that no signal reaches, does nothing to them and
    adds nothing.

    Args:
        feature_map: `[B, ...]`, before pooling.
        disturbed: The same of the disturbed images.
        variances: See `Observed.variances`.
    """
    distance = jnp.abs(feature_map - disturbed).reshape(feature_map.shape[0], -1)
    score = jnp.log(jnp.mean(jnp.sum(distance, axis=1)))
    for variance, count in variances:
        mean = jnp.mean(variance, axis=-1)
        taken = (count > 0) & (mean > 0)
        scale = 0.5 * jnp.log(jnp.where(taken, mean, 1))
        score += jnp.sum(jnp.where(taken, count * scale, 0))
    return score


@registered(
    title="Zen-Score",
    cost="2 forward passes",
    input_kind="noise",
    reference="arXiv 2102.01063, algorithm 1",
    needs=("feature_map", "variances"),
    intermediate="zen",
)
def zen(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Zen-Score of one draw of weights and noise; the batch only gives the shape.

    Lin et al. 2021 (arXiv 2102.01063), algorithm 1; see `zen_score`. Average the score
    over keys for a steadier one (ZiCo's code takes 32, NASLib 1).
    """
    weight_key, image_key, noise_key = jax.random.split(key, 3)
    params = gaussian_weights(weight_key, network.live, network.params)
    shape, dtype = batch.images.shape, batch.images.dtype
    images = gaussian(image_key, shape, dtype)
    noise = gaussian(noise_key, shape, dtype)
    first = network.tell(params, images)
    second = network.tell(params, images + ZEN_MIXUP * noise)
    return zen_score(
        require("zen", "feature_map", first.feature_map),
        require("zen", "feature_map", second.feature_map),
        require("zen", "variances", first.variances),
    )
