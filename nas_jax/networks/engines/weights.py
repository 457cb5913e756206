"""Architecture weights: how much each operation of an edge counts."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.errors import MaskError
from nas_jax.spaces import NONE, SearchSpace

ArchWeights = Mapping[str, jax.Array]
"""Architecture weights `[edges, operations]` by cell name; rows sum to 1."""

WEIGHT_TOLERANCE = 0.01
"""How much more than 1 an edge's weights may be: they may be of 16 bits."""


def zero_alphas(space: SearchSpace) -> dict[str, jax.Array]:
    """Alphas `[edges, operations]` float32 for each cell, all operations equal."""
    return {c.name: jnp.zeros((len(c.edges), len(c.ops))) for c in space.cells}


def init_alphas(space: SearchSpace, key: jax.Array) -> dict[str, jax.Array]:
    """DARTS' start: 1e-3 times a standard normal (cnn/model_search.py)."""
    keys = jax.random.split(key, len(space.cells))
    return {
        c.name: 1e-3 * jax.random.normal(k, (len(c.edges), len(c.ops)), jnp.float32)
        for c, k in zip(space.cells, keys, strict=True)
    }


def mixture_weights(
    alphas: ArchWeights, live: Mapping[str, jax.Array | np.ndarray]
) -> dict[str, jax.Array]:
    """Masked softmax over each edge's operations (arXiv 2505.13586, Mix(x, O)).

        w_o = I(o) exp(a_o) / sum_o' I(o') exp(a_o')

    Args:
        alphas: `[edges, operations]` by cell name.
        live: 0/1 or boolean I, same shapes: a mask's arrays or a traced candidate.

    Returns:
        Weights that are exactly 0 where `live` is 0; rows sum to 1.

    Raises:
        MaskError: `live` has other cells or shapes; or, where its values are known,
            values other than 0 and 1, or an edge without any 1.
    """
    _check_live(alphas, live)
    return {
        name: jax.nn.softmax(
            jnp.where(jnp.asarray(live[name]).astype(bool), alpha, -jnp.inf), axis=-1
        )
        for name, alpha in alphas.items()
    }


def check_weights(
    arch_weights: ArchWeights, kept: Mapping[str, np.ndarray], values: bool = True
) -> None:
    """Refuses what are no architecture weights, as far as they are known.

    Alphas before the softmax, say, would be computed with like any numbers.

    Args:
        arch_weights: What a supernet is given; may be traced.
        kept: Which entries it reads, 0/1 `[edges, operations]` by cell name.
        values: Whether values matter; to make variables, shapes are enough.

    Raises:
        MaskError: They are of other cells or shapes, or those of an edge are negative,
            all 0, or more than 1 together.
    """
    if set(arch_weights) != set(kept):
        raise MaskError(
            f"architecture weights are of the cells {sorted(arch_weights)}; this "
            f"network has {sorted(kept)}"
        )
    for name, mask in kept.items():
        weights = arch_weights[name]
        if jnp.shape(weights) != mask.shape:
            raise MaskError(
                f"architecture weights of {name!r} have shape {jnp.shape(weights)}; "
                f"this network needs {mask.shape}, [edges, operations]"
            )
        if isinstance(weights, jax.core.Tracer) or not values:
            continue
        read = np.where(mask, np.asarray(weights, np.float64), 0)
        # Less than 1 in all where an operation that is not read has the rest.
        total = read.sum(-1)
        wrong = (read < 0).any(-1) | ~((total > 0) & (total < 1 + WEIGHT_TOLERANCE))
        if wrong.any():
            edge = int(np.argmax(wrong))
            raise MaskError(
                f"architecture weights of {name!r}, edge {edge}, are "
                f"{np.round(read[edge], 4).tolist()}; those of an edge must be 0 or "
                "more and add up to 1: of alphas, give mixture_weights(alphas, "
                "mask.arrays())"
            )


def _check_live(
    alphas: ArchWeights, live: Mapping[str, jax.Array | np.ndarray]
) -> None:
    """Refuses what says nothing of the alphas. Shapes alone cost nothing in a trace."""
    if set(alphas) != set(live):
        raise MaskError(
            f"alphas are of the cells {sorted(alphas)}, and live of {sorted(live)}; "
            "they must be the same"
        )
    for name, alpha in alphas.items():
        shapes = jnp.shape(alpha), jnp.shape(live[name])
        if shapes[0] != shapes[1]:
            raise MaskError(
                f"alphas of {name!r} have shape {shapes[0]}, and live has {shapes[1]}; "
                "both must be [edges, operations]"
            )
        if isinstance(live[name], jax.core.Tracer):
            continue
        values = np.asarray(live[name])
        other = values[(values != 0) & (values != 1)]
        if other.size:
            raise MaskError(
                f"live of {name!r} holds {other[0]!s}; it must hold 0 and 1, or "
                "booleans, such as the arrays of a mask"
            )
        dead = np.argwhere(~values.astype(bool).any(axis=-1))
        if len(dead):
            raise MaskError(
                f"live of {name!r} has no operation on edge {dead[0][-1]}; keep one, "
                f"such as {NONE!r}"
            )
