"""Depthwise convolution as three bilinear functions, each the others' derivative.

Shapes: K stacked edges, B batch, H and W image, C channels, k kernel size. Write

    y  = conv(x, w)         [K, B, H, W, C] x [K, k, k, C] -> [K, B, H/s, W/s, C]
    dx = spread(y, w)       the transpose of `conv` in x
    dw = correlate(x, y)    the transpose of `conv` in w

All three are the same trilinear form <y, conv(x, w)> with one argument left open, so
the derivative of each is written with the other two, at any order. Autodiff of the sum
below would instead build one padded copy for each tap.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax


def depthwise_conv(
    x: jax.Array, w: jax.Array, *, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Depthwise convolution with PyTorch's padding `dilation * (k - 1) // 2`.

    Args:
        x: Stacked inputs `[K, B, H, W, C]`.
        w: One odd-sized kernel for each stacked input and channel, `[K, k, k, C]`.
        stride: Step in both image dimensions.
        dilation: Distance of the taps.

    Returns:
        `[K, B, ceil(H / stride), ceil(W / stride), C]`.
    """
    if (
        x.ndim != 5
        or w.ndim != 4
        or (x.shape[0], x.shape[-1])
        != (
            w.shape[0],
            w.shape[-1],
        )
    ):
        raise ValueError(
            f"x [K, B, H, W, C] and w [K, k, k, C] do not fit: {x.shape}, {w.shape}"
        )
    if w.shape[1] != w.shape[2] or w.shape[1] % 2 == 0:
        raise ValueError(f"kernels must be square and odd; got {w.shape[1:3]}")
    return _conv(stride, dilation, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _conv(stride: int, dilation: int, x: jax.Array, w: jax.Array) -> jax.Array:
    return _conv_by_platform(stride, dilation, x, w)


# The inner functions are jitted so that each is traced and lowered once for a shape.
@functools.partial(jax.jit, static_argnums=(0, 1))
def _conv_by_platform(
    stride: int, dilation: int, x: jax.Array, w: jax.Array
) -> jax.Array:
    return lax.platform_dependent(
        x,
        w,
        cpu=functools.partial(conv_by_taps, stride, dilation),
        default=functools.partial(conv_by_groups, stride, dilation),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _spread(
    stride: int, dilation: int, size: tuple[int, int], y: jax.Array, w: jax.Array
) -> jax.Array:
    """Transpose of `_conv` in x: spread y over the grid of x, flip the taps."""
    y = enlarge(y, size, stride)
    return _conv(1, dilation, y, jnp.flip(w, (1, 2)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _correlate(
    stride: int, dilation: int, k: int, x: jax.Array, y: jax.Array
) -> jax.Array:
    """Transpose of `_conv` in w: one sum for each tap, all in one pass over memory.

    On a CPU the variadic reduction takes 0.4 of the time of a loop over taps.
    """
    return _correlate_by_taps(stride, dilation, k, x, y)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _correlate_by_taps(
    stride: int, dilation: int, k: int, x: jax.Array, y: jax.Array
) -> jax.Array:
    wide = jnp.promote_types(y.dtype, jnp.float32)
    y = y.astype(wide)
    views = taps(x, y.shape, k, stride, dilation)
    products = [tap.astype(wide) * y for tap in views]
    sums = lax.reduce(
        products,
        [jnp.zeros((), wide)] * len(products),
        lambda a, b: [p + q for p, q in zip(a, b, strict=True)],
        (1, 2, 3),
    )
    return jnp.stack(sums, 1).reshape(x.shape[0], k, k, x.shape[-1]).astype(x.dtype)


def taps(
    x: jax.Array,
    shape: tuple[int, ...],
    k: int,
    stride: int = 1,
    dilation: int = 1,
    fill: float = 0.0,
) -> Iterator[jax.Array]:
    """The k * k shifted views of x, each of the output's shape, row by row.

    Args:
        x: `[K, B, H, W, C]`.
        shape: Shape of the output.
        k: Size of the window.
        stride: Step in both image dimensions.
        dilation: Distance of the taps.
        fill: What lies outside the image.
    """
    pad = dilation * (k - 1) // 2
    widths = ((0, 0), (0, 0), (pad, pad), (pad, pad), (0, 0))
    # Without the barrier every tap would compute its part of the padding again.
    padded = lax.optimization_barrier(jnp.pad(x, widths, constant_values=fill))
    stacked, batch, height, width, channels = shape
    for i in range(k):
        for j in range(k):
            top, left = i * dilation, j * dilation
            yield lax.slice(
                padded,
                (0, 0, top, left, 0),
                (
                    stacked,
                    batch,
                    top + (height - 1) * stride + 1,
                    left + (width - 1) * stride + 1,
                    channels,
                ),
                (1, 1, stride, stride, 1),
            )


def enlarge(
    y: jax.Array, size: tuple[int, ...], stride: int, fill: float = 0.0
) -> jax.Array:
    """Puts y `[K, B, h, w, C]` on every stride-th pixel of an image of a size."""
    if stride == 1:
        return y
    none = (0, 0, 0)
    high = [n - ((m - 1) * stride + 1) for n, m in zip(size, y.shape[2:4], strict=True)]
    inner = stride - 1
    padding = (none, none, (0, high[0], inner), (0, high[1], inner), none)
    return lax.pad(y, jnp.asarray(fill, y.dtype), padding)


def conv_by_taps(stride: int, dilation: int, x: jax.Array, w: jax.Array) -> jax.Array:
    """`depthwise_conv` as a sum of shifted inputs: one fused loop on a CPU.

    XLA's CPU convolution takes 50 times as long when every channel is a group.
    """
    stacked, batch, height, width, channels = x.shape
    k = w.shape[1]
    shape = (stacked, batch, -(-height // stride), -(-width // stride), channels)
    total = jnp.zeros(shape, x.dtype)
    for index, tap in enumerate(taps(x, shape, k, stride, dilation)):
        total += tap * w[:, index // k, index % k][:, None, None, None, :]
    return total


def conv_by_groups(stride: int, dilation: int, x: jax.Array, w: jax.Array) -> jax.Array:
    """`depthwise_conv` as one grouped convolution, edges stacked along channels."""
    stacked, batch, height, width, channels = x.shape
    k = w.shape[1]
    pad = dilation * (k - 1) // 2
    y = lax.conv_general_dilated(
        jnp.moveaxis(x, 0, 3).reshape(batch, height, width, stacked * channels),
        jnp.moveaxis(w, 0, 2).reshape(k, k, 1, stacked * channels),
        window_strides=(stride, stride),
        padding=((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=stacked * channels,
    )
    y = y.reshape(*y.shape[:3], stacked, channels)
    return jnp.moveaxis(y, 3, 0)


def _conv_fwd(stride, dilation, x, w):  # type: ignore[no-untyped-def]
    return _conv(stride, dilation, x, w), (x, w)


def _conv_bwd(stride, dilation, saved, y):  # type: ignore[no-untyped-def]
    x, w = saved
    dx = _spread(stride, dilation, x.shape[2:4], y, w)
    return dx, _correlate(stride, dilation, w.shape[1], x, y)


def _spread_fwd(stride, dilation, size, y, w):  # type: ignore[no-untyped-def]
    return _spread(stride, dilation, size, y, w), (y, w)


def _spread_bwd(stride, dilation, size, saved, x):  # type: ignore[no-untyped-def]
    y, w = saved
    dw = _correlate(stride, dilation, w.shape[1], x, y)
    return _conv(stride, dilation, x, w), dw


def _correlate_fwd(stride, dilation, k, x, y):  # type: ignore[no-untyped-def]
    return _correlate(stride, dilation, k, x, y), (x, y)


def _correlate_bwd(stride, dilation, k, saved, w):  # type: ignore[no-untyped-def]
    x, y = saved
    dx = _spread(stride, dilation, x.shape[2:4], y, w)
    return dx, _conv(stride, dilation, x, w)


_conv.defvjp(_conv_fwd, _conv_bwd)
_spread.defvjp(_spread_fwd, _spread_bwd)
_correlate.defvjp(_correlate_fwd, _correlate_bwd)
