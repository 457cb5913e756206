"""Layers of very few channels, differentiated for many cotangents at once.

Shapes: N stacked edges, C and D channels, H and W image, B batch; images are
`[N, C, H, W * B]` (see `thin_windows`).

A convolution and the normalisation behind it are one function, `conv_norm`, because
their backward pass together needs one matrix product for all sums over pixels and one
pass over the cotangent, where each on its own needs several. What does not depend on
the cotangent (the shifted inputs, the normalised outputs) is computed once, however
many cotangents `jax.vmap` lays side by side.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from nas_jax.networks.layers import BATCH_NORM_EPSILON, Norm
from nas_jax.networks.thin_windows import (
    convolve,
    image,
    patches,
    separately,
    spread,
    taps,
    total,
)

MOST_TERMS = 4
"""Channels up to which a 1x1 convolution is written term by term. Each term takes time
to compile."""


def conv_norm(
    x: jax.Array,
    depthwise: jax.Array | None,
    pointwise: jax.Array,
    scale: jax.Array,
    shift: jax.Array,
    *,
    batch: int,
    stride: int = 1,
    dilation: int = 1,
    norm: Norm = "batch",
) -> tuple[jax.Array, jax.Array]:
    """Depthwise convolution, 1x1 convolution and batch normalisation of N edges.

        y = scale * (z - mean z) / sqrt(var z + eps) + shift

    for z = pointwise(depthwise(x)): Ioffe and Szegedy 2015 (arXiv 1502.03167),
    algorithm 1.

    Args:
        x: `[N, C, H, W * B]`, or `[1, C, H, W * B]` for edges that share their input;
            its phases (see `split`) for a stride of 2.
        depthwise: `[N, k, k, C]`, k odd, see `convolve`; None for a 1x1 convolution.
        pointwise: `[N, C, D]`.
        scale: `[N, D]`.
        shift: `[N, D]`.
        batch: B.
        stride: Step of the depthwise convolution in both image dimensions.
        dilation: Distance of its taps.
        norm: What normalisation does; "identity" scales and shifts alone.

    Returns:
        y `[N, D, ceil(H / stride), ceil(W / stride) * B]`, and the variances `[N, D]`
        of z, through which no gradient flows.
    """
    how = (batch, stride, dilation, norm)
    y, variance = _conv_norm(how, x, depthwise, pointwise, scale, shift)
    return y, lax.stop_gradient(variance)


def _unit(how, x, depthwise, pointwise):  # type: ignore[no-untyped-def]
    """The normalised z, its variances, and the mean and 1 / deviation used."""
    batch, stride, dilation, norm = how
    if depthwise is not None:
        x = convolve(x, depthwise, batch, stride, dilation)
    z = separately(mix_channels, x, pointwise)
    mean = jnp.mean(z, (2, 3))
    variance = jnp.mean(jnp.square(z - image(mean)), (2, 3))
    rate = lax.rsqrt(variance + BATCH_NORM_EPSILON)
    if norm != "batch":
        mean, rate = jnp.zeros_like(mean), jnp.ones_like(rate)
    if norm == "running":  # Of an untrained network: mean 0 and variance 1.
        rate *= (1 + BATCH_NORM_EPSILON) ** -0.5
    return (z - image(mean)) * image(rate), variance, mean, rate


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_norm(how, x, depthwise, pointwise, scale, shift):  # type: ignore[no-untyped-def]
    return _conv_norm_fwd(how, x, depthwise, pointwise, scale, shift)[0]


def _conv_norm_fwd(how, x, depthwise, pointwise, scale, shift):  # type: ignore[no-untyped-def]
    unit, variance, mean, rate = _unit(how, x, depthwise, pointwise)
    y = unit * image(scale) + image(shift)
    return (y, variance), (x, depthwise, pointwise, scale, unit, mean, rate)


def _conv_norm_bwd(how, saved, cotangents):  # type: ignore[no-untyped-def]
    """Cotangents of the inputs from y, the cotangent of the output.

    That of z is scale / deviation * (y - mean y - u mean(u y)), u being the normalised
    z, and z is linear in the shifted copies of x. So all sums over pixels follow from
    those of y times the shifted copies.
    """
    batch, stride, dilation, norm = how
    x, depthwise, pointwise, scale, unit, mean, rate = saved
    y = cotangents[0]
    pixels = math.prod(y.shape[2:])
    if depthwise is None:
        rows, kernel = patches(x, 1, batch, 1, 1), pointwise[:, None]
    else:
        rows = patches(x, depthwise.shape[1], batch, stride, dilation)
        kernel = taps(depthwise)[..., None] * pointwise[:, None]
    sums = _correlate(rows, y)
    shift_bar = jnp.sum(y, (2, 3))
    scale_bar = rate * (jnp.sum(kernel * sums, (1, 2)) - mean * shift_bar)
    centre, slope = jnp.zeros_like(scale), jnp.zeros_like(scale)
    if norm == "batch":
        centre, slope = shift_bar / pixels, scale_bar / pixels
        sums -= jnp.stack([jnp.sum(r, -1) for r in rows])[..., None] * _tap(centre)
        sums -= _correlate_once(rows, unit) * _tap(slope)
    sums *= _tap(scale * rate)
    x_bar = separately(
        _channel_cotangent, y, unit, centre, slope, scale * rate, pointwise
    )
    if depthwise is None:
        depthwise_bar, pointwise_bar = None, sums[:, 0]
    else:
        pointwise_bar = jnp.sum(taps(depthwise)[..., None] * sums, 1)
        depthwise_bar = jnp.sum(sums * pointwise[:, None], -1).reshape(depthwise.shape)
        x_bar = spread(x_bar, depthwise, x.shape[0] == 1, batch, stride, dilation)
    if x.shape[0] == 1 and x_bar.shape[0] > 1:
        x_bar = separately(lambda x: total(list(x))[None], x_bar)
    return x_bar, depthwise_bar, pointwise_bar, scale_bar, shift_bar


_conv_norm.defvjp(_conv_norm_fwd, _conv_norm_bwd)


def _tap(statistics: jax.Array) -> jax.Array:
    """`[N, D]` as something to multiply `[N, T, C, D]` with."""
    return statistics[:, None, None]


def _channel_cotangent(
    y: jax.Array,
    unit: jax.Array,
    centre: jax.Array,
    slope: jax.Array,
    factor: jax.Array,
    pointwise: jax.Array,
) -> jax.Array:
    """Cotangent `[N, C, H, W * B]` of what the 1x1 convolution reads."""
    z = (y - image(centre) - unit * image(slope)) * image(factor)
    return mix_channels(z, jnp.swapaxes(pointwise, 1, 2))


def mix_channels(x: jax.Array, w: jax.Array) -> jax.Array:
    """1x1 convolution `[N or 1, C, ...] x [N, C, D] -> [N, D, ...]`."""
    if w.shape[1] > MOST_TERMS and x.shape[0] == 1:
        return jnp.einsum("c...,ncd->nd...", x[0], w)
    if w.shape[1] > MOST_TERMS:
        return jnp.einsum("nc...,ncd->nd...", x, w)
    return total(x[:, c, None] * image(w[:, c]) for c in range(w.shape[1]))


def _correlate(rows: list[jax.Array], y: jax.Array) -> jax.Array:
    """Sums over pixels: N or 1 of `[T, C, P]`, `[N, D, H, W * B] -> [N, T, C, D]`."""
    edges, channels = y.shape[:2]
    flat = [r.reshape(-1, r.shape[-1]) for r in rows]
    if len(rows) == 1:
        sums = _products(y.reshape(edges * channels, -1), flat[0])
    else:
        y = y.reshape(edges, channels, -1)
        sums = jnp.stack([_products(y[n], r) for n, r in enumerate(flat)])
    return jnp.moveaxis(sums.reshape(edges, channels, *rows[0].shape[:2]), 1, -1)


def _correlate_once(rows: list[jax.Array], y: jax.Array) -> jax.Array:
    """`_correlate` where there is but one y: the rows stay as they are."""
    y = y.reshape(*y.shape[:2], -1)
    rows = rows * len(y) if len(rows) == 1 else rows
    return jnp.stack([r @ y[n].T for n, r in enumerate(rows)])


@jax.custom_vjp
def _products(y: jax.Array, rows: jax.Array) -> jax.Array:
    """y rows^T of `[M, P]` and `[T, P]`; many y side by side are only more rows.

    Batched as usual, the product would have three axes and be transposed first.
    """
    return _flat_products(y, rows)


@custom_vmap
def _flat_products(y: jax.Array, rows: jax.Array) -> jax.Array:
    return y @ rows.T


@_flat_products.def_vmap
def _batched_products(
    size: int, batched: list[bool], y: jax.Array, rows: jax.Array
) -> tuple[jax.Array, bool]:
    del size
    if batched == [True, False]:
        flat = _flat_products(y.reshape(-1, y.shape[-1]), rows)
        return flat.reshape(*y.shape[:2], -1), True
    axes = tuple(0 if b else None for b in batched)
    return jax.vmap(lambda y, rows: y @ rows.T, axes)(y, rows), True


def _products_bwd(saved, products):  # type: ignore[no-untyped-def]
    y, rows = saved
    return products @ rows, products.T @ y


_products.defvjp(lambda y, rows: (_products(y, rows), (y, rows)), _products_bwd)


@jax.custom_vjp
def mix_operations(w: jax.Array, xs: list[jax.Array]) -> jax.Array:
    """Weighted sums for N edges of K images, `[N, K], K of [C, ...] -> [N, C, ...]`."""
    return total(x * image(w[:, k, None]) for k, x in enumerate(xs))


def _mix_operations_bwd(saved, y):  # type: ignore[no-untyped-def]
    def one(y: jax.Array, w: jax.Array) -> jax.Array:
        return total(y[n] * w[n] for n in range(w.shape[0]))

    w, xs = saved
    x_bars = [separately(one, y, w[:, k]) for k in range(len(xs))]
    return jnp.stack([jnp.sum(y * x, (1, 2, 3)) for x in xs], 1), x_bars


mix_operations.defvjp(
    lambda w, xs: (mix_operations(w, xs), (w, xs)), _mix_operations_bwd
)


@jax.custom_vjp
def unstack(x: jax.Array) -> list[jax.Array]:
    """The N arrays of a stack, whose cotangents are stacked in one pass."""
    return list(x)


def _unstack_bwd(saved: Any, ys: list[jax.Array]) -> tuple[jax.Array]:
    del saved
    return (separately(lambda *ys: jnp.stack(ys), *ys),)


unstack.defvjp(lambda x: (unstack(x), None), _unstack_bwd)


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0)."""
    return jnp.maximum(x, 0)


def _relu_bwd(active: jax.Array, y: jax.Array) -> tuple[jax.Array]:
    # A product, where a choice by a boolean is not vectorised.
    return (separately(jnp.multiply, active, y),)


relu.defvjp(lambda x: (relu(x), (x > 0).astype(x.dtype)), _relu_bwd)
