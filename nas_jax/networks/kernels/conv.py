"""Ordinary convolution as three bilinear functions, each the others' derivative.

Shapes: B batch, H and W image, C and D channels, k kernel size. As in `depthwise`,

    y  = conv(x, w)         [B, H, W, C] x [k, k, C, D] -> [B, H/s, W/s, D]
    dx = spread(y, w)       the transpose of `conv` in x
    dw = correlate(x, y)    the transpose of `conv` in w

so that derivatives of any order are made of the same three. What XLA's CPU compiler
makes of autodiff's kernel derivative depends on where it stands: 12 ms by itself, and
half a second inside a loop or a branch (16x32x32 in and out, batch 64).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.networks.kernels.depthwise import enlarge

WIDE = 16
"""Channels in from which XLA's convolution is a CPU's fastest. With 4 channels it takes
5.3 ms, and by rows 1.4 (batch 64, 32x32, 3x3, one core of an AMD EPYC). By rows holds a
product of k times the channels out, which are not to be many either."""


def conv(x: jax.Array, w: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution with padding `(k - 1) // 2`, as PyTorch's `Conv2d` without bias.

    Args:
        x: `[B, H, W, C]`.
        w: Odd-sized square kernels `[k, k, C, D]`.
        stride: Step in both image dimensions.

    Returns:
        `[B, ceil(H / stride), ceil(W / stride), D]`.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[-1] != w.shape[2]:
        raise ValueError(
            f"x [B, H, W, C] and w [k, k, C, D] do not fit: {x.shape}, {w.shape}"
        )
    if w.shape[0] != w.shape[1] or w.shape[0] % 2 == 0:
        raise ValueError(f"kernels must be square and odd; got {w.shape[:2]}")
    return _conv(stride, x, w)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(stride: int, x: jax.Array, w: jax.Array) -> jax.Array:
    # Whatever the platform: inside of a loop, JAX (0.10) mixes up the residuals of a
    # second derivative where the function asks for the platform, or calls jnp.pad.
    few = x.shape[-1] < WIDE and w.shape[-1] <= WIDE
    return (conv_by_rows if few else conv_by_xla)(stride, x, w)


def conv_by_xla(stride: int, x: jax.Array, w: jax.Array) -> jax.Array:
    """One convolution, for XLA to compute as it can."""
    pad = w.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def conv_by_rows(stride: int, x: jax.Array, w: jax.Array) -> jax.Array:
    """One product `[B (H + 2p) W', k C] x [k C, k D]`, and a sum of k shifted rows.

    Patches are of one direction only: a third of the copies for 3x3, and a product of
    k times as many columns, of which few channels have too few.
    """
    channels, k, outputs = x.shape[-1], w.shape[0], w.shape[-1]
    rows = _row_patches(x, k, stride)
    kernel = w.transpose(1, 2, 0, 3).reshape(k * channels, k * outputs)
    y = (rows.reshape(-1, k * channels) @ kernel).reshape(*rows.shape[:3], k * outputs)
    stop = x.shape[1] - (x.shape[1] - 1) % stride
    parts = [
        y[:, i : i + stop : stride, :, i * outputs : (i + 1) * outputs]
        for i in range(k)
    ]
    return functools.reduce(jnp.add, parts)


def _row_patches(x: jax.Array, k: int, stride: int) -> jax.Array:
    """Side by side what a kernel's k columns read: `[B, H + 2p, ceil(W / s), k C]`."""
    pad = k // 2
    width = -(-x.shape[2] // stride)
    # lax alone: see `_conv`.
    edge = ((0, 0, 0), (pad, pad, 0), (pad, pad, 0), (0, 0, 0))
    padded = lax.pad(x, np.zeros((), x.dtype), edge)
    stop = (width - 1) * stride + 1
    return lax.concatenate(
        [lax.slice_in_dim(padded, j, j + stop, stride, axis=2) for j in range(k)], 3
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _spread(
    stride: int, size: tuple[int, int], y: jax.Array, w: jax.Array
) -> jax.Array:
    """Transpose of `_conv` in x: spread y over the grid of x, turn the kernel."""
    return _conv(1, enlarge(y[None], size, stride)[0], _turned(w))


def _turned(w: jax.Array) -> jax.Array:
    return jnp.flip(w, (0, 1)).swapaxes(2, 3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _correlate(stride: int, k: int, x: jax.Array, y: jax.Array) -> jax.Array:
    """Transpose of `_conv` in w."""
    return lax.platform_dependent(
        x,
        y,
        cpu=functools.partial(correlate_by_patches, stride, k),
        default=functools.partial(correlate_by_autodiff, stride, k),
    )


def correlate_by_patches(stride: int, k: int, x: jax.Array, y: jax.Array) -> jax.Array:
    """Image by image, which fits a cache: one product of two kinds of patches.

    The k columns of a kernel are patches of x, its k rows are shifts of y:
    `[(H + 2p) W', k C]^T x [(H + 2p) W', k D]`.
    """
    channels, outputs = x.shape[-1], y.shape[-1]
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def add(
        total: jax.Array, image: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, None]:
        x, y = image
        columns = _row_patches(x[None], k, stride)[0]
        used = (y.shape[0] - 1) * stride + 1
        zero = jnp.zeros((), y.dtype)
        shifts = [
            lax.pad(
                y,
                zero,
                ((i, columns.shape[0] - used - i, stride - 1), (0, 0, 0), (0, 0, 0)),
            )
            for i in range(k)
        ]
        product = jnp.matmul(
            columns.reshape(-1, k * channels).T,
            jnp.concatenate(shifts, -1).reshape(-1, k * outputs),
            preferred_element_type=wide,
        )
        return total + product, None

    zeros = jnp.zeros((k * channels, k * outputs), wide)
    total, _ = lax.scan(add, zeros, (x, y))
    kernel = total.reshape(k, channels, k, outputs).transpose(2, 0, 1, 3)
    return kernel.astype(x.dtype)


def correlate_by_autodiff(stride: int, k: int, x: jax.Array, y: jax.Array) -> jax.Array:
    """What JAX makes of the derivative: a convolution over the batch."""
    kernel = jax.ShapeDtypeStruct((k, k, x.shape[-1], y.shape[-1]), x.dtype)

    def forward(w: jax.Array) -> jax.Array:
        return conv_by_xla(stride, x, w)

    dw: jax.Array = jax.linear_transpose(forward, kernel)(y)[0]
    return dw


def _conv_fwd(stride, x, w):  # type: ignore[no-untyped-def]
    return _conv(stride, x, w), (x, w)


def _conv_bwd(stride, saved, y):  # type: ignore[no-untyped-def]
    x, w = saved
    dx = _spread(stride, x.shape[1:3], y, w)
    return dx, _correlate(stride, w.shape[0], x, y)


def _spread_fwd(stride, size, y, w):  # type: ignore[no-untyped-def]
    return _spread(stride, size, y, w), (y, w)


def _spread_bwd(stride, size, saved, x):  # type: ignore[no-untyped-def]
    y, w = saved
    return _conv(stride, x, w), _correlate(stride, w.shape[0], x, y)


def _correlate_fwd(stride, k, x, y):  # type: ignore[no-untyped-def]
    return _correlate(stride, k, x, y), (x, y)


def _correlate_bwd(stride, k, saved, w):  # type: ignore[no-untyped-def]
    x, y = saved
    return _spread(stride, x.shape[1:3], y, w), _conv(stride, x, w)


_conv.defvjp(_conv_fwd, _conv_bwd)
_spread.defvjp(_spread_fwd, _spread_bwd)
_correlate.defvjp(_correlate_fwd, _correlate_bwd)
