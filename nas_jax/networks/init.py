"""Initial variables without running, or compiling, a forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.layers import fan_in

Variables = dict[str, Any]
"""Flax collections: `params`, and `batch_stats` where statistics are tracked."""

ONES = ("scale", "variance")
ZEROS = ("shift", "mean", "bias")


def abstract_variables(
    network: nn.Module, images: jax.Array | jax.ShapeDtypeStruct, *args: Any, **kw: Any
) -> Variables:
    """Shapes and dtypes of a network's variables; nothing is allocated.

    Args:
        network: The network.
        images: A batch, or its shape and dtype.
        *args: Further positional arguments of the network.
        **kw: Static keyword arguments of the network.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = jax.eval_shape(lambda k, *a: network.init(k, *a, **kw), key, images, *args)
    return {k: v for k, v in shapes.items() if k in ("params", "batch_stats")}


def init_variables(key: jax.Array, abstract: Mapping[str, Any]) -> Variables:
    """Initial values for abstract variables, from one random draw.

    The same distributions as `network.init`. One draw that is cut into leaves costs a
    few milliseconds, where Flax's way compiles a generator for each of the 400 leaves
    of a DARTS supernet.

    Args:
        key: A typed PRNG key.
        abstract: What `abstract_variables` returns.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path(dict(abstract))
    names = [path[-1].key for path, _ in paths]
    leaves = [leaf for _, leaf in paths]
    drawn = [n not in ONES and n not in ZEROS for n in names]
    sizes = [leaf.size for leaf, d in zip(leaves, drawn, strict=True) if d]
    # Of 32 bits whatever the default is: one key draws one network.
    drawing = jax.random.uniform(key, (sum(sizes),), jnp.float32, minval=-1.0)
    uniform = np.asarray(drawing)
    parts = iter(np.split(uniform, np.cumsum(sizes)[:-1]))
    values = []
    for name, leaf, d in zip(names, leaves, drawn, strict=True):
        if d:
            value = next(parts).reshape(leaf.shape) * fan_in(name, leaf.shape) ** -0.5
        else:
            value = np.full(leaf.shape, float(name in ONES))
        values.append(jnp.asarray(value, leaf.dtype))
    return jax.tree_util.tree_unflatten(tree, values)


def num_parameters(abstract: Mapping[str, Any]) -> int:
    """Number of trainable numbers in a network's variables."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract["params"]))
