"""Linear functions over stacked arrays: 1x1 convolutions, and sums over the stack.

Shapes: K stacked arrays, B batch, H and W image, C and D channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def pointwise_conv(x: jax.Array, w: jax.Array) -> jax.Array:
    """1x1 convolution of every stacked input: `[K, ..., C] x [K, C, D]`."""
    stacked, *shape, channels = x.shape
    y = jnp.einsum("kpc,kcd->kpd", x.reshape(stacked, -1, channels), w)
    return y.reshape(stacked, *shape, w.shape[-1])


@jax.custom_vjp
def mix(matrix: jax.Array, x: jax.Array) -> jax.Array:
    """Weighted sums of stacked arrays: `[T, K] x [K, ...] -> [T, ...]`.

    The derivative is given by hand for its layout only: the contraction over all
    pixels as an ordinary matrix product takes a CPU a tenth of the time of the
    product with two long rows that autodiff writes.
    """
    mixed = matrix.astype(x.dtype) @ x.reshape(x.shape[0], -1)
    return mixed.reshape(matrix.shape[0], *x.shape[1:])


def _mix_fwd(matrix, x):  # type: ignore[no-untyped-def]
    return mix(matrix, x), (matrix, x)


def _mix_bwd(saved, cotangent):  # type: ignore[no-untyped-def]
    matrix, x = saved
    columns = cotangent.reshape(cotangent.shape[0], -1).T
    rows = x.reshape(x.shape[0], -1)
    matrix_bar = jnp.matmul(rows, columns, preferred_element_type=matrix.dtype).T
    return matrix_bar, mix(matrix.T, cotangent)


mix.defvjp(_mix_fwd, _mix_bwd)


def halve(x: jax.Array, w_even: jax.Array, w_odd: jax.Array) -> jax.Array:
    """Factorised reduction of `[K, B, H, W, C]` (DARTS, `FactorizedReduce`).

    Two 1x1 convolutions of stride 2 `[K, C, D / 2]`, the second one pixel further down
    and right, side by side: no pixel of x is left out on the diagonal.
    """
    even = pointwise_conv(x[:, :, ::2, ::2], w_even)
    odd = pointwise_conv(x[:, :, 1::2, 1::2], w_odd)
    return jnp.concatenate([even, odd], axis=-1)
