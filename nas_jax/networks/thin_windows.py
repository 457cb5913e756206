"""Windows that slide over images of very few channels: depthwise convolutions, pools.

Shapes: N stacked edges, C channels, H and W image, B batch. An image is `[H, W * B]`:
with one or two channels, a row of pixels with the batch inside is what a vector unit
can run along, and a step to the next pixel is a step of B.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

T = TypeVar("T")
Place = tuple[int | None, int, int]
"""Where a tap looks: its phase (see `split`), and rows and pixels from the centre."""
Border = tuple[int, int, int, int]
"""Rows and pixels around an image: top, left, bottom, right."""

POOL = 3
"""Height and width of a pool's window."""


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


def taps(w: jax.Array) -> jax.Array:
    """Kernels `[N, k, k, C]` as `[N, k * k, C]`."""
    return w.reshape(w.shape[0], -1, w.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def split(x: jax.Array, size: tuple[int, int], batch: int, stride: int) -> jax.Array:
    """An image's phases: its every stride-th pixels, from each pixel of a square on.

    What walks with a stride reads nothing but neighbours in phases, and writes them: an
    image is taken apart and put together once, for all its readers.

    Args:
        x: `[..., H, W * B]`.
        size: H and W.
        batch: B.
        stride: Step in both image dimensions, at least 2.

    Returns:
        `[..., stride^2, ceil(H / stride), ceil(W / stride) * B]`, row by row of the
        square; zero where that lies outside of x.
    """
    small = strided(size, stride)
    ends = [n * stride - m for n, m in zip(small, size, strict=True)]

    def taken_apart(x: jax.Array) -> jax.Array:
        lead = x.ndim - 2
        config = [(0, 0, 0)] * lead + [(0, ends[0], 0), (0, ends[1] * batch, 0)]
        x = lax.pad(x, np.asarray(0, x.dtype), config) if any(ends) else x
        x = x.reshape(*x.shape[:lead], small[0], stride, small[1], stride, batch)
        x = jnp.moveaxis(x, (lead + 1, lead + 3), (lead, lead + 1))
        return x.reshape(*x.shape[:lead], stride**2, small[0], small[1] * batch)

    return separately(taken_apart, x)


def _split_fwd(x, size, batch, stride):  # type: ignore[no-untyped-def]
    return split(x, size, batch, stride), None


def _split_bwd(size, batch, stride, saved, phases):  # type: ignore[no-untyped-def]
    def interleaved(x: jax.Array) -> jax.Array:
        *lead, _, height, row = x.shape
        axis = len(lead)
        x = x.reshape(*lead, stride, stride, height, row // batch, batch)
        x = jnp.moveaxis(x, (axis, axis + 1), (axis + 1, axis + 3))
        x = x.reshape(*lead, height * stride, row * stride)
        return x[..., : size[0], : size[1] * batch]

    return (separately(interleaved, phases),)


split.defvjp(_split_fwd, _split_bwd)


def convolve(
    x: jax.Array, w: jax.Array, batch: int, stride: int, dilation: int
) -> jax.Array:
    """Depthwise convolution by `[N, k, k, C]`, k odd.

    Padded as in PyTorch by `dilation * (k - 1) // 2`, so that the result has
    `ceil(H / stride)` rows.

    Args:
        x: `[N or 1, C, H, W * B]`; its phases (see `split`) for a stride of 2.
        w: Kernels.
        batch: B.
        stride: Step in both image dimensions.
        dilation: Distance of the taps.
    """
    places = _places(w.shape[1], stride, dilation)
    x, start = _padded(x, batch, places)

    def convolved(x: jax.Array, w: jax.Array) -> jax.Array:
        return total(
            _view(x, batch, start, place) * image(w[:, t])
            for t, place in enumerate(places)
        )

    return separately(convolved, x, taps(w))


def patches(
    x: jax.Array, k: int, batch: int, stride: int, dilation: int
) -> list[jax.Array]:
    """What a window's taps see of x (see `convolve`): N of `[k * k, C, pixels]`."""
    places = _places(k, stride, dilation)
    channels = x.shape[1]
    padded, start = _padded(x, batch, places)

    def seen(n: int, padded: jax.Array) -> jax.Array:
        return jnp.stack([_view(padded[n], batch, start, place) for place in places])

    # Each on its own: a slice of a common array would be copied before a product.
    return [
        separately(functools.partial(seen, n), padded).reshape(k * k, channels, -1)
        for n in range(x.shape[0])
    ]


def spread(
    y: jax.Array, w: jax.Array, shared: bool, batch: int, stride: int, dilation: int
) -> jax.Array:
    """Transpose of `convolve` in x: an image, or its phases.

    Args:
        y: `[N, C, H', W' * B]`.
        w: See `convolve`.
        shared: Whether all edges had one x: their cotangents are added up.
        batch: See `convolve`.
        stride: See `convolve`.
        dilation: See `convolve`.
    """

    def term(t: int, y: jax.Array, w: jax.Array) -> jax.Array:
        return y * image(w[:, t])

    places = _places(w.shape[1], stride, dilation)
    return _spread(term, (y,), (taps(w),), places, batch, stride, shared)


def _spread(
    term: Callable[..., jax.Array],
    images: tuple[jax.Array, ...],
    arrays: tuple[jax.Array, ...],
    places: Sequence[Place],
    batch: int,
    stride: int,
    shared: bool,
) -> jax.Array:
    """Transpose of views: `term(t, *images, *arrays)` where tap t had looked, added up.

    Pixel `stride * m + a` of the result, m of phase a, gets what tap t gives at m', for
    `stride * m' + offset_t` being that pixel.
    """
    back = {t: (-i, -j) for t, (_, i, j) in enumerate(places)}
    padded = [_padded(x, batch, [(0, *p) for p in back.values()]) for x in images]

    def phase(reached: Sequence[int], *given: jax.Array) -> jax.Array:
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
    for a in range(stride**2):
        reached = [t for t, place in enumerate(places) if place[0] in (None, a)]
        if not reached:
            sums.append(jnp.zeros_like(sums[0]))
            continue
        x = separately(functools.partial(phase, reached), *given)
        if shared and x.shape[0] > 1:
            x = separately(lambda x: total(list(x))[None], x)
        sums.append(x)
    if stride == 1:
        return sums[0]
    return separately(lambda *sums: jnp.stack(sums, 2), *sums)


def avg_pool(x: jax.Array, size: tuple[int, int], batch: int, stride: int) -> jax.Array:
    """3x3 mean that does not count the padding.

    Args:
        x: See `convolve`.
        size: H and W of the image.
        batch: B.
        stride: Step in both image dimensions.
    """
    return _avg_pool(size, batch, stride, x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _avg_pool(
    size: tuple[int, int], batch: int, stride: int, x: jax.Array
) -> jax.Array:
    w = jnp.ones((1, POOL, POOL, 1), x.dtype)
    return convolve(x, w, batch, stride, 1) * _weights(size, batch, stride, x.dtype)


def _avg_pool_fwd(size, batch, stride, x):  # type: ignore[no-untyped-def]
    return _avg_pool(size, batch, stride, x), None


def _avg_pool_bwd(size, batch, stride, saved, y):  # type: ignore[no-untyped-def]
    w = jnp.ones((1, POOL, POOL, 1), y.dtype)
    y = y * _weights(size, batch, stride, y.dtype)
    return (spread(y, w, False, batch, stride, 1),)


_avg_pool.defvjp(_avg_pool_fwd, _avg_pool_bwd)


def _weights(size: tuple[int, int], batch: int, stride: int, dtype: Any) -> jax.Array:
    """1 / pixels of the image in each window of a pool, `[H', W' * B]`."""
    rows, columns = (
        (POOL - (np.arange(n) == 0) - (np.arange(n) == n - 1.0))[::stride] for n in size
    )
    return jnp.asarray(np.repeat(1 / np.outer(rows, columns), batch, axis=1), dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, size: tuple[int, int], batch: int, stride: int) -> jax.Array:
    """3x3 maximum; arguments as of `avg_pool`.

    The first of equal maxima gets the gradient, as in PyTorch.
    """
    return _max_pool_fwd(x, size, batch, stride)[0]


def _max_pool_fwd(x, size, batch, stride):  # type: ignore[no-untyped-def]
    places = _places(POOL, stride, 1)
    if any(n % stride for n in size):
        ones = jnp.ones((size[0], size[1] * batch), bool)
        x = jnp.where(split(ones, size, batch, stride), x, -np.inf)
    padded, start = _padded(x, batch, places, -np.inf)

    def pooled(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        best, *others = (_view(x, batch, start, place) for place in places)
        chosen = jnp.zeros(best.shape, jnp.int8)
        for t, view in enumerate(others, 1):
            chosen = jnp.where(view > best, jnp.int8(t), chosen)
            best = jnp.maximum(view, best)
        return best, chosen

    return separately(pooled, padded)


def _max_pool_bwd(size, batch, stride, chosen, y):  # type: ignore[no-untyped-def]
    def routed(t: int, chosen: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(chosen == t, y, 0)

    places = _places(POOL, stride, 1)
    return (_spread(routed, (chosen, y), (), places, batch, stride, False),)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Size of every stride-th pixel of an image of a size."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _places(k: int, stride: int, dilation: int) -> list[Place]:
    """Where the taps of a k x k window look, row by row."""
    steps = [dilation * (i - k // 2) for i in range(k)]
    if stride == 1:
        return [(None, i, j) for i in steps for j in steps]
    return [
        (i % stride * stride + j % stride, i // stride, j // stride)
        for i in steps
        for j in steps
    ]


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
