"""Windows that slide over images of very few channels: depthwise convolutions, pools.

Shapes: N stacked edges, C channels, H and W image, B batch. An image is `[H, W * B]`:
with one or two channels, a row of pixels with the batch inside is what a vector unit
can run along, and a step to the next pixel is a step of B.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

T = TypeVar("T")
Offset = tuple[int, int]
"""Rows and pixels from a window's centre."""

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


def convolve(
    x: jax.Array, w: jax.Array, batch: int, stride: int, dilation: int
) -> jax.Array:
    """Depthwise convolution of `[N or 1, C, H, W * B]` by `[N, k, k, C]`, k odd.

    Padded as in PyTorch by `dilation * (k - 1) // 2`, so that the result has
    `ceil(H / stride)` rows.
    """
    offsets = _offsets(w.shape[1], dilation)
    size = strided(_size(x, batch), stride)
    x, start = _padded(x, batch, offsets, size, stride)

    def convolved(x: jax.Array, w: jax.Array) -> jax.Array:
        return total(
            _view(x, batch, start, offset, size, stride) * image(w[:, t])
            for t, offset in enumerate(offsets)
        )

    return separately(convolved, x, taps(w))


def patches(
    x: jax.Array, k: int, batch: int, stride: int, dilation: int
) -> list[jax.Array]:
    """What a window's taps see of `[N, C, H, W * B]`: N of `[k * k, C, pixels]`."""
    offsets = _offsets(k, dilation)
    size = strided(_size(x, batch), stride)
    channels = x.shape[1]
    padded, start = _padded(x, batch, offsets, size, stride)

    def seen(n: int, padded: jax.Array) -> jax.Array:
        views = [_view(padded[n], batch, start, o, size, stride) for o in offsets]
        return jnp.stack(views)

    # Each on its own: a slice of a common array would be copied before a product.
    return [
        separately(functools.partial(seen, n), padded).reshape(k * k, channels, -1)
        for n in range(x.shape[0])
    ]


def spread(
    y: jax.Array,
    w: jax.Array,
    size: tuple[int, int],
    batch: int,
    stride: int,
    dilation: int,
) -> jax.Array:
    """Transpose of `convolve` in x, an image of a size."""

    def term(t: int, y: jax.Array, w: jax.Array) -> jax.Array:
        return y * image(w[:, t])

    offsets = _offsets(w.shape[1], dilation)
    return _spread(term, (y,), (taps(w),), offsets, size, batch, stride)


def _spread(
    term: Callable[..., jax.Array],
    images: tuple[jax.Array, ...],
    arrays: tuple[jax.Array, ...],
    offsets: Sequence[Offset],
    size: tuple[int, int],
    batch: int,
    stride: int,
) -> jax.Array:
    """Transpose of views: `term(t, *images, *arrays)` where tap t had looked, added up.

    Pixel `stride * m + a` of the result gets what tap t gives at m', for
    `stride * m' + offset_t` being that pixel. Each a is an image of its own.
    """
    small = strided(size, stride)
    phases = [
        {
            t: ((a - i) // stride, (b - j) // stride)
            for t, (i, j) in enumerate(offsets)
            if (a - i) % stride == 0 and (b - j) % stride == 0
        }
        for a, b in itertools.product(range(stride), repeat=2)
    ]
    reached = [offset for places in phases for offset in places.values()]
    padded = [_padded(x, batch, reached, small) for x in images]

    def phase(places: dict[int, Offset], *given: jax.Array) -> jax.Array:
        terms = []
        for t, offset in places.items():
            views = [
                _view(x, batch, start, offset, small)
                for x, (_, start) in zip(given, padded, strict=False)
            ]
            terms.append(term(t, *views, *given[len(views) :]))
        return total(terms)

    given = [x for x, _ in padded] + list(arrays)
    # The first phase has the taps whose offset is 0: never empty.
    sums = [separately(functools.partial(phase, p), *given) for p in phases if p]
    if stride == 1:
        return sums[0]
    left = iter(sums)
    filled = [next(left) if places else jnp.zeros_like(sums[0]) for places in phases]
    return separately(
        functools.partial(_interleave, batch, stride, size),
        *filled,
    )


def _interleave(
    batch: int, stride: int, size: tuple[int, int], *phases: jax.Array
) -> jax.Array:
    """One image of a size from its images of every stride-th pixel."""
    *lead, height, row = phases[0].shape
    x = jnp.stack(phases, -3)
    x = x.reshape(*lead, stride, stride, height, row // batch, batch)
    axis = len(lead)
    x = jnp.moveaxis(x, (axis, axis + 1), (axis + 1, axis + 3))
    x = x.reshape(*lead, height * stride, row * stride)
    return x[..., : size[0], : size[1] * batch]


def avg_pool(x: jax.Array, batch: int, stride: int) -> jax.Array:
    """3x3 mean of `[N, C, H, W * B]` that does not count the padding."""
    return _avg_pool(batch, stride, _size(x, batch), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _avg_pool(
    batch: int, stride: int, size: tuple[int, int], x: jax.Array
) -> jax.Array:
    w = jnp.ones((1, POOL, POOL, 1), x.dtype)
    return convolve(x, w, batch, stride, 1) * _weights(batch, stride, size, x.dtype)


def _avg_pool_fwd(batch, stride, size, x):  # type: ignore[no-untyped-def]
    return _avg_pool(batch, stride, size, x), None


def _avg_pool_bwd(batch, stride, size, saved, y):  # type: ignore[no-untyped-def]
    w = jnp.ones((1, POOL, POOL, 1), y.dtype)
    y = y * _weights(batch, stride, size, y.dtype)
    return (spread(y, w, size, batch, stride, 1),)


_avg_pool.defvjp(_avg_pool_fwd, _avg_pool_bwd)


def _weights(batch: int, stride: int, size: tuple[int, int], dtype: Any) -> jax.Array:
    """1 / pixels of the image in each window of a pool, `[H', W' * B]`."""
    rows, columns = (
        (POOL - (np.arange(n) == 0) - (np.arange(n) == n - 1.0))[::stride] for n in size
    )
    return jnp.asarray(np.repeat(1 / np.outer(rows, columns), batch, axis=1), dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x: jax.Array, batch: int, stride: int) -> jax.Array:
    """3x3 maximum of `[N, C, H, W * B]`.

    The first of equal maxima gets the gradient, as in PyTorch.
    """
    return _max_pool_fwd(x, batch, stride)[0]


def _max_pool_fwd(x, batch, stride):  # type: ignore[no-untyped-def]
    offsets = _offsets(POOL, 1)
    size = strided(_size(x, batch), stride)
    padded, start = _padded(x, batch, offsets, size, stride, -np.inf)

    def pooled(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        best, *others = (_view(x, batch, start, o, size, stride) for o in offsets)
        place = jnp.zeros(best.shape, jnp.int8)
        for t, view in enumerate(others, 1):
            place = jnp.where(view > best, jnp.int8(t), place)
            best = jnp.maximum(view, best)
        return best, place

    best, place = separately(pooled, padded)
    return best, (place, _size(x, batch))


def _max_pool_bwd(batch, stride, saved, y):  # type: ignore[no-untyped-def]
    def routed(t: int, place: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(place == t, y, 0)

    place, size = saved
    return (_spread(routed, (place, y), (), _offsets(POOL, 1), size, batch, stride),)


max_pool.defvjp(_max_pool_fwd, _max_pool_bwd)


def strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Size of every stride-th pixel of an image of a size."""
    return -(-size[0] // stride), -(-size[1] // stride)


def _size(x: jax.Array, batch: int) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1] // batch


def _offsets(k: int, dilation: int) -> list[Offset]:
    """Offsets of the taps of a k x k window, row by row."""
    steps = [dilation * (i - k // 2) for i in range(k)]
    return list(itertools.product(steps, steps))


def _padded(
    x: jax.Array,
    batch: int,
    offsets: Iterable[Offset],
    size: tuple[int, int],
    stride: int = 1,
    fill: float = 0,
) -> tuple[jax.Array, Offset]:
    """x, and `fill` around it as far as views of a size from the offsets reach.

    Returns:
        The padded x, and where its first pixel is.
    """
    low, high = [0, 0], [0, 0]
    for axis, length in enumerate(_size(x, batch)):
        places = [offset[axis] for offset in offsets]
        low[axis] = max(0, -min(places))
        high[axis] = max(0, max(places) + (size[axis] - 1) * stride + 1 - length)
    if any(low + high):
        value = np.asarray(fill, x.dtype)
        config = [(0, 0, 0)] * (x.ndim - 2)
        config += [(low[0], high[0], 0), (low[1] * batch, high[1] * batch, 0)]
        x = separately(lambda x: lax.pad(x, value, config), x)
    return x, (low[0], low[1])


def _view(
    x: jax.Array,
    batch: int,
    start: Offset,
    offset: Offset,
    size: tuple[int, int],
    stride: int = 1,
) -> jax.Array:
    """Every stride-th pixel of a padded x from an offset on, an image of a size."""
    i, j = start[0] + offset[0], start[1] + offset[1]
    x = x[..., i : i + (size[0] - 1) * stride + 1 : stride, :]
    if stride == 1:
        return x[..., j * batch : (j + size[1]) * batch]
    x = x.reshape(*x.shape[:-1], -1, batch)
    x = x[..., j : j + (size[1] - 1) * stride + 1 : stride, :]
    return x.reshape(*x.shape[:-2], -1)
