"""TE-NAS' thin network written plainly: NHWC, XLA's convolutions, an edge at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.spaces import CellSpec, SearchSpace


def norm(x: jax.Array, params: Any) -> jax.Array:
    mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
    return (x - mean) / jnp.sqrt(variance + 1e-5) * params["scale"] + params["shift"]


def conv(
    x: jax.Array, kernel: jax.Array, pad: int, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Depthwise where the kernel has one input channel."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )


def pool(x: jax.Array, op: str, stride: int) -> jax.Array:
    where = ((1, 3, 3, 1), (1, stride, stride, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    if op == "max_pool_3x3":
        return lax.reduce_window(x, -jnp.inf, lax.max, *where)
    count = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *where)
    return lax.reduce_window(x, 0.0, lax.add, *where) / count


def operation(op: str, x: jax.Array, params: Any, row: int, stride: int) -> jax.Array:
    if "pool" in op:
        return pool(x, op, stride)
    if op == "skip_connect" and stride == 1:
        return x
    own = jax.tree.map(lambda p: p[row], params[op])
    if op == "skip_connect":
        x = jax.nn.relu(x)
        moved = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))[:, 1:, 1:]
        halves = [
            image[:, ::2, ::2] @ own[f"pointwise_{name}"]
            for image, name in ((x, "even"), (moved, "odd"))
        ]
        return norm(jnp.concatenate(halves, -1), own)
    size, dilation = int(op[-1]), 2 if op.startswith("dil") else 1
    for stage in sorted(own):
        p = own[stage]
        pad = dilation * (size - 1) // 2
        x = conv(jax.nn.relu(x), p["depthwise"][:, :, None], pad, stride, dilation)
        x, stride = norm(x @ p["pointwise"], p), 1
    return x


def cell(
    spec: CellSpec, halves: bool, params: Any, inputs: Any, weights: np.ndarray
) -> jax.Array:
    states = {}
    for i, x in enumerate(inputs):
        p = params[f"preprocess_{i}"]
        states[i] = norm(jax.nn.relu(x) @ p["kernel"], p)
    rows = sorted(range(len(spec.edges)), key=lambda e: spec.edges[e])
    for edge, (source, target) in enumerate(spec.edges):
        stride = 2 if halves and source < 2 else 1
        for column, op in enumerate(spec.ops):
            if op == "none" or weights[edge, column] == 0:
                continue
            y = operation(op, states[source], params, rows.index(edge), stride)
            y = y * weights[edge, column]
            states[target] = states[target] + y if target in states else y
    return jnp.concatenate([states[n] for n in spec.output], -1)


def logits(
    space: SearchSpace,
    params: Any,
    images: jax.Array,
    weights: Mapping[str, np.ndarray],
) -> jax.Array:
    x = images
    if "stem" in params:
        x = norm(conv(x, params["stem"]["kernel"], 1), params["stem"])
    before = last = x
    for index, spec in enumerate(space.cells):
        out = cell(
            spec, index == 1, params[spec.name], (before, last), weights[spec.name]
        )
        before, last = last, out
    features = jnp.mean(jax.nn.relu(norm(last, params["last"])), (1, 2))
    dense = params["classifier"]
    return features @ dense["kernel"] + dense["bias"]
