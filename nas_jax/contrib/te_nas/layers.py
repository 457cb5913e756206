"""Layers of very few channels, differentiated for many cotangents at once.

Shapes: N stacked edges, C and D channels, H and W image, B batch. Images are
`[N, C, H, W * B]`: with one or two channels, a row of pixels with the batch inside is
what a vector unit can run along, and a step to the next pixel is a step of B.

What does not depend on the cotangent (shifted inputs, normalised outputs) is computed
once, however many cotangents `jax.vmap` lays side by side. All is written for a CPU,
where a kernel of a candidate is 14 backward passes of a tiny network.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.xla_metadata import set_xla_metadata

from nas_jax.networks.layers import BATCH_NORM_EPSILON, Norm

T = TypeVar("T")
Size = tuple[int, int]
"""H and W."""
Place = tuple[int | None, int, int]
"""Where a tap looks: its phase (see `split`), and rows and pixels from the centre."""
Border = tuple[int, int, int, int]
"""Rows and pixels around an image: top, left, bottom, right."""

MOST_TERMS = 4
"""Channels up to which a 1x1 convolution is written term by term. Each term takes time
to compile."""


class Window(NamedTuple):
    """A k x k window, k odd, that walks over images padded as in PyTorch.

    Its results have `ceil(H / stride)` rows.

    Attributes:
        k: Height and width in taps.
        batch: B.
        stride: Step in both image dimensions; for 2, it walks over phases (`split`).
        dilation: Distance of the taps.
    """

    k: int
    batch: int
    stride: int = 1
    dilation: int = 1

    @property
    def places(self) -> list[Place]:
        """Where the taps look, row by row."""
        steps = [self.dilation * (i - self.k // 2) for i in range(self.k)]
        s = self.stride
        if s == 1:
            return [(None, i, j) for i in steps for j in steps]
        return [(i % s * s + j % s, i // s, j // s) for i in steps for j in steps]


def separately(function: Callable[..., T], *arrays: Any) -> T:
    """Runs a function as a computation of its own: nothing is fused across its border.

    XLA for CPUs fuses a pad or a concatenation with what comes before and after it, and
    the loop that results has a branch in it and is not vectorised; it also computes a
    convolution again for each of its readers. It drops `lax.optimization_barrier` too
    early to prevent that.
    """

    def inner(*arrays: Any) -> T:
        with set_xla_metadata(inlineable=None):
            return function(*arrays)

    with set_xla_metadata(inlineable="false"):
        return jax.jit(inner)(*arrays)


def image(statistics: jax.Array) -> jax.Array:
    """`[...]` as something to multiply images `[..., H, W * B]` with."""
    return statistics[..., None, None]


def total(terms: Iterable[jax.Array]) -> jax.Array:
    """Sum of arrays, one fused loop."""
    return functools.reduce(jnp.add, terms)


def _taps(w: jax.Array) -> jax.Array:
    """Kernels `[N, k, k, C]` as `[N, k * k, C]`."""
    return w.reshape(w.shape[0], -1, w.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def split(x: jax.Array, size: Size, batch: int, stride: int) -> jax.Array:
    """An image's phases: its every stride-th pixels, from each pixel of a square on.

    What walks with a stride reads nothing but neighbours in phases, and writes them: an
    image `[..., H, W * B]` is taken apart and put together once, for all its readers.

    Returns:
        `[..., stride^2, ceil(H / stride), ceil(W / stride) * B]`, row by row of the
        square; zero where that lies outside of x.
    """
    small = [-(-n // stride) for n in size]
    ends = [n * stride - m for n, m in zip(small, size, strict=True)]

    def taken_apart(x: jax.Array) -> jax.Array:
        lead = x.ndim - 2
        config = [(0, 0, 0)] * lead + [(0, ends[0], 0), (0, ends[1] * batch, 0)]
        x = lax.pad(x, np.asarray(0, x.dtype), config) if any(ends) else x
        x = x.reshape(*x.shape[:lead], small[0], stride, small[1], stride, batch)
        x = jnp.moveaxis(x, (lead + 1, lead + 3), (lead, lead + 1))
        return x.reshape(*x.shape[:lead], stride**2, small[0], small[1] * batch)

    return separately(taken_apart, x)


def _split_bwd(size, batch, stride, saved, phases):  # type: ignore[no-untyped-def]
    def interleaved(x: jax.Array) -> jax.Array:
        *lead, _, height, row = x.shape
        axis = len(lead)
        x = x.reshape(*lead, stride, stride, height, row // batch, batch)
        x = jnp.moveaxis(x, (axis, axis + 1), (axis + 1, axis + 3))
        x = x.reshape(*lead, height * stride, row * stride)
        return x[..., : size[0], : size[1] * batch]

    return (separately(interleaved, phases),)


split.defvjp(lambda x, *how: (split(x, *how), None), _split_bwd)


def convolve(x: jax.Array, w: jax.Array, window: Window) -> jax.Array:
    """Depthwise convolution of `[N or 1, C, H, W * B]` by `[N, k, k, C]`."""
    x, start = _padded(x, window.batch, window.places)

    def convolved(x: jax.Array, w: jax.Array) -> jax.Array:
        return total(
            _view(x, window.batch, start, place) * image(w[:, t])
            for t, place in enumerate(window.places)
        )

    return separately(convolved, x, _taps(w))


def patches(x: jax.Array, window: Window) -> list[jax.Array]:
    """What a window's taps see of x (see `convolve`): N of `[k * k, C, pixels]`."""
    padded, start = _padded(x, window.batch, window.places)

    def seen(n: int, x: jax.Array) -> jax.Array:
        views = [_view(x[n], window.batch, start, place) for place in window.places]
        return jnp.stack(views)

    # Each on its own: a slice of a common array would be copied before a product.
    return [
        separately(functools.partial(seen, n), padded).reshape(
            window.k**2, x.shape[1], -1
        )
        for n in range(x.shape[0])
    ]


def _spread(
    term: Callable[..., jax.Array],
    images: tuple[jax.Array, ...],
    arrays: tuple[jax.Array, ...],
    window: Window,
    shared: bool = False,
) -> jax.Array:
    """Transpose of views: `term(t, *images, *arrays)` where tap t had looked, added up.

    Pixel `stride * m + a` of the result, m of phase a, gets what tap t gives at m', for
    `stride * m' + offset_t` being that pixel. Where all edges had one x, `shared`, the
    cotangents are added up.
    """
    batch = window.batch
    back = {t: (-i, -j) for t, (_, i, j) in enumerate(window.places)}
    padded = [_padded(x, batch, [(0, *p) for p in back.values()]) for x in images]

    def phase(reached: list[int], *given: jax.Array) -> jax.Array:
        terms = []
        for t in reached:
            views = [
                _view(x, batch, start, (None, *back[t]))
                for x, (_, start) in zip(given, padded, strict=False)
            ]
            terms.append(term(t, *views, *given[len(views) :]))
        return total(terms)

    given = [x for x, _ in padded] + list(arrays)
    sums: list[jax.Array] = []
    for a in range(window.stride**2):
        reached = [t for t, p in enumerate(window.places) if p[0] in (None, a)]
        if not reached:
            sums.append(jnp.zeros_like(sums[0]))
            continue
        x = separately(functools.partial(phase, reached), *given)
        sums.append(_added_up(x) if shared else x)
    if window.stride == 1:
        return sums[0]
    return separately(lambda *sums: jnp.stack(sums, 2), *sums)


def _added_up(x: jax.Array) -> jax.Array:
    """The sum over edges, `[N, ...] -> [1, ...]`."""
    return separately(lambda x: total(list(x))[None], x) if x.shape[0] > 1 else x


def _spread_taps(
    y: jax.Array, w: jax.Array, window: Window, shared: bool = False
) -> jax.Array:
    """Transpose of `convolve` in x: an image, or its phases."""

    def term(t: int, y: jax.Array, w: jax.Array) -> jax.Array:
        return y * image(w[:, t])

    return _spread(term, (y,), (_taps(w),), window, shared)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def avg_pool(x: jax.Array, size: Size, window: Window) -> jax.Array:
    """Mean of a window, which does not count the padding; `size` is the image's."""
    return convolve(x, _ones(window, x), window) * _weights(size, window, x)


def _avg_pool_bwd(size, window, saved, y):  # type: ignore[no-untyped-def]
    return (_spread_taps(y * _weights(size, window, y), _ones(window, y), window),)


avg_pool.defvjp(lambda x, *how: (avg_pool(x, *how), None), _avg_pool_bwd)


def _ones(window: Window, x: jax.Array) -> jax.Array:
    return jnp.ones((1, window.k, window.k, 1), x.dtype)


def _weights(size: Size, window: Window, x: jax.Array) -> jax.Array:
    """1 / pixels of the image in each 3x3 window, `[H', W' * B]`."""
    assert window.k == 3
    rows, columns = (
        (3 - (np.arange(n) == 0) - (np.arange(n) == n - 1.0))[:: window.stride]
        for n in size
    )
    weights = np.repeat(1 / np.outer(rows, columns), window.batch, axis=1)
    return jnp.asarray(weights, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x: jax.Array, size: Size, window: Window) -> jax.Array:
    """Maximum of a window; the first of equal ones gets the gradient, as in PyTorch."""
    return _max_pool_fwd(x, size, window)[0]


def _max_pool_fwd(x, size, window):  # type: ignore[no-untyped-def]
    stride, batch = window.stride, window.batch
    if any(n % stride for n in size):
        ones = jnp.ones((size[0], size[1] * batch), bool)
        x = jnp.where(split(ones, size, batch, stride), x, -np.inf)
    padded, start = _padded(x, batch, window.places, -np.inf)

    def pooled(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        best, *others = (_view(x, batch, start, place) for place in window.places)
        chosen = jnp.zeros(best.shape, jnp.int8)
        for t, view in enumerate(others, 1):
            chosen = jnp.where(view > best, jnp.int8(t), chosen)
            best = jnp.maximum(view, best)
        return best, chosen

    return separately(pooled, padded)


def _max_pool_bwd(size, window, chosen, y):  # type: ignore[no-untyped-def]
    def routed(t: int, chosen: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(chosen == t, y, 0)

    return (_spread(routed, (chosen, y), (), window),)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def _padded(
    x: jax.Array, batch: int, places: Iterable[Place], fill: float = 0
) -> tuple[jax.Array, Border]:
    """x `[..., H, W * B]`, and `fill` around it as far as the places reach."""
    offsets = [place[1:] for place in places]
    low = [max(0, -min(o[axis] for o in offsets)) for axis in (0, 1)]
    high = [max(0, max(o[axis] for o in offsets)) for axis in (0, 1)]
    if any(low + high):
        value = np.asarray(fill, x.dtype)
        config = [(0, 0, 0)] * (x.ndim - 2)
        config += [(low[0], high[0], 0), (low[1] * batch, high[1] * batch, 0)]
        x = separately(lambda x: lax.pad(x, value, config), x)
    return x, (low[0], low[1], high[0], high[1])


def _view(x: jax.Array, batch: int, border: Border, place: Place) -> jax.Array:
    """The image that a tap sees of a padded one, or of padded phases."""
    phase, i, j = place
    top, left, bottom, right = border
    if phase is not None:
        x = x[..., phase, :, :]
    rows = slice(top + i, x.shape[-2] - bottom + i)
    columns = slice((left + j) * batch, x.shape[-1] - (right - j) * batch)
    return x[..., rows, columns]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def conv_norm(
    window: Window,
    norm: Norm,
    x: jax.Array,
    depthwise: jax.Array | None,
    pointwise: jax.Array,
    scale: jax.Array,
    shift: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Depthwise convolution, 1x1 convolution and batch normalisation of N edges.

        y = scale * (z - mean z) / sqrt(var z + eps) + shift

    for z = pointwise(depthwise(x)): Ioffe and Szegedy 2015 (arXiv 1502.03167),
    algorithm 1. One function, because the backward pass of both together needs one
    matrix product for all sums over pixels and one pass over the cotangent.

    Args:
        window: The depthwise convolution's; of one tap for a 1x1 convolution alone.
        norm: What normalisation does; "identity" scales and shifts alone.
        x: `[N, C, H, W * B]`, or `[1, C, H, W * B]` for edges that share their input;
            its phases (see `split`) for a stride of 2.
        depthwise: `[N, k, k, C]`; None for a 1x1 convolution alone.
        pointwise: `[N, C, D]`.
        scale: `[N, D]`.
        shift: `[N, D]`.

    Returns:
        y `[N, D, ceil(H / stride), ceil(W / stride) * B]`, and the variances `[N, D]`
        of z, through which no gradient flows.
    """
    return _conv_norm_fwd(window, norm, x, depthwise, pointwise, scale, shift)[0]


def _conv_norm_fwd(window, norm, x, depthwise, pointwise, scale, shift):  # type: ignore[no-untyped-def]
    z = x if depthwise is None else convolve(x, depthwise, window)
    z = separately(mix_channels, z, pointwise)
    mean = jnp.mean(z, (2, 3))
    variance = jnp.mean(jnp.square(z - image(mean)), (2, 3))
    rate = lax.rsqrt(variance + BATCH_NORM_EPSILON)
    if norm != "batch":
        mean, rate = jnp.zeros_like(mean), jnp.ones_like(rate)
    if norm == "running":  # Of an untrained network: mean 0 and variance 1.
        rate *= (1 + BATCH_NORM_EPSILON) ** -0.5
    unit = (z - image(mean)) * image(rate)
    y = unit * image(scale) + image(shift)
    return (y, variance), (x, depthwise, pointwise, scale, unit, mean, rate)


def _conv_norm_bwd(window, norm, saved, cotangents):  # type: ignore[no-untyped-def]
    """Cotangents of the inputs from y, the cotangent of the output.

    That of z is scale / deviation * (y - mean y - u mean(u y)), u being the normalised
    z, and z is linear in the shifted copies of x. So all sums over pixels follow from
    those of y times the shifted copies.
    """
    x, depthwise, pointwise, scale, unit, mean, rate = saved
    y = cotangents[0]
    pixels = math.prod(y.shape[2:])
    rows, kernel = patches(x, window), pointwise[:, None]
    if depthwise is not None:
        kernel = _taps(depthwise)[..., None] * kernel
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
        pointwise_bar = jnp.sum(_taps(depthwise)[..., None] * sums, 1)
        depthwise_bar = jnp.sum(sums * pointwise[:, None], -1).reshape(depthwise.shape)
        x_bar = _spread_taps(x_bar, depthwise, window, x.shape[0] == 1)
    if x.shape[0] == 1:
        x_bar = _added_up(x_bar)
    return x_bar, depthwise_bar, pointwise_bar, scale_bar, shift_bar


conv_norm.defvjp(_conv_norm_fwd, _conv_norm_bwd)


def _tap(statistics: jax.Array) -> jax.Array:
    """`[N, D]` as something to multiply `[N, T, C, D]` with."""
    return statistics[:, None, None]


def _channel_cotangent(y, unit, centre, slope, factor, pointwise):  # type: ignore[no-untyped-def]
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


unstack.defvjp(
    lambda x: (unstack(x), None),
    lambda _, ys: (separately(lambda *ys: jnp.stack(ys), *ys),),
)


@jax.custom_vjp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0)."""
    return jnp.maximum(x, 0)


relu.defvjp(
    lambda x: (relu(x), (x > 0).astype(x.dtype)),
    # A product, where a choice by a boolean is not vectorised.
    lambda active, y: (separately(jnp.multiply, active, y),),
)
