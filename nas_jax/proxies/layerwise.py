"""Sums over the layers of a network whose parameters may be stacked.

A layer's weight is a kernel: what is left of a parameter without its stack axes has two
axes or more. Scales, shifts and biases are not counted, as in zero-cost-nas, which sums
over `Conv2d` and `Linear` weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

SCALE_NAMES = ("scale", "gamma", "weight")
"""What the factors of a normalisation are called: Flax and Haiku, papers, PyTorch."""


def is_kernel(alive: jax.Array, array: jax.Array) -> bool:
    """Whether a parameter is the weight of a convolution or linear layer."""
    return array.ndim - alive.ndim >= 2


def is_scale(path: tuple[Any, ...]) -> bool:
    """Whether a tree path ends in the name of a normalisation's factors."""
    last = path[-1] if path else None
    return getattr(last, "key", getattr(last, "name", "")) in SCALE_NAMES


def sum_over_weights(
    per_element: Callable[..., jax.Array],
    live: Any,
    *trees: Any,
    per_layer: Callable[[jax.Array], jax.Array] = lambda total: total,
) -> jax.Array:
    """Sum over live layers of `per_layer(sum of per_element(w1, w2, ...))`, a scalar.

    Args:
        per_element: Elementwise function of one array from each tree.
        live: 0/1 entries, see `ScoredNetwork.live`.
        *trees: Trees like `live`: weights, gradients.
        per_layer: Elementwise function of the layers' sums.
    """

    def one(alive: jax.Array, *arrays: jax.Array) -> jax.Array:
        if not is_kernel(alive, arrays[0]):
            return jnp.zeros(())
        axes = tuple(range(alive.ndim, arrays[0].ndim))
        return jnp.sum(alive * per_layer(jnp.sum(per_element(*arrays), axes)))

    terms = jax.tree.leaves(jax.tree.map(one, live, *trees))
    return jnp.sum(jnp.stack(terms))


def masked(alive: jax.Array, array: jax.Array) -> jax.Array:
    """The array with zeros for the layers of its stack that do not take part."""
    shape = alive.shape + (1,) * (array.ndim - alive.ndim)
    return array * alive.reshape(shape).astype(array.dtype)


def only_kernels(live: Any, tree: Any) -> Any:
    """The tree with zeros for all that is not the kernel of a live layer."""

    def one(alive: jax.Array, array: jax.Array) -> jax.Array:
        if not is_kernel(alive, array):
            return jnp.zeros_like(array)
        return masked(alive, array)

    return jax.tree.map(one, live, tree)


def count_parameters(live: Any, params: Any) -> jax.Array:
    """Number of parameters in live layers, of all kinds, as a float scalar."""

    def one(alive: jax.Array, array: jax.Array) -> jax.Array:
        return jnp.sum(alive) * float(math.prod(array.shape[alive.ndim :]))

    return jnp.sum(jnp.stack(jax.tree.leaves(jax.tree.map(one, live, params))))
