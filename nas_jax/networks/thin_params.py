"""Shapes and initial values of the parameters of a thin network (`thin_darts`)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.networks.operations import CONV_OPS
from nas_jax.networks.plan import SKIP
from nas_jax.spaces import CellSpec


def array(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 array of a shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def with_norm(
    size: tuple[int, ...], **kernels: tuple[int, ...]
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of kernels by name and of a normalisation behind them."""
    shapes = {name: array(*shape) for name, shape in kernels.items()}
    return {**shapes, "scale": array(*size), "shift": array(*size)}


def operation_shapes(cell: CellSpec, channels: int, halves: bool) -> dict[str, Any]:
    """Shapes of the parameters of a cell's operations, by their names."""
    edges = len(cell.edges)
    params: dict[str, Any] = {}
    for op in cell.ops:
        if op in CONV_OPS:
            k = CONV_OPS[op].kernel
            params[op] = {
                f"stage_{stage}": with_norm(
                    (edges, channels),
                    depthwise=(edges, k, k, channels),
                    pointwise=(edges, channels, channels),
                )
                for stage in CONV_OPS[op].stages
            }
        elif op == SKIP and halves:
            halved = sum(source < cell.num_inputs for source, _ in cell.edges)
            half = channels // 2
            params[op] = with_norm(
                (halved, channels),
                pointwise_even=(halved, channels, half),
                pointwise_odd=(halved, channels, channels - half),
            )
    return params


def kaiming_fan_out(
    key: jax.Array, name: str, shape: jax.ShapeDtypeStruct
) -> jax.Array:
    """N(0, 2 / fan out) for a weight; the constants of normalisations and biases.

    PyTorch's fan out is the first axis of its weight times the pixels of the kernel:
    for a depthwise convolution, too, all its channels.
    """
    if name in ("scale", "shift", "bias"):
        return jnp.full(shape.shape, float(name == "scale"), shape.dtype)
    fan_out = shape.shape[-1]
    if name == "depthwise":
        fan_out *= shape.shape[-3] * shape.shape[-2]
    elif len(shape.shape) == 4:  # the stem's
        fan_out *= shape.shape[0] * shape.shape[1]
    return jax.random.normal(key, shape.shape, shape.dtype) * (2 / fan_out) ** 0.5
