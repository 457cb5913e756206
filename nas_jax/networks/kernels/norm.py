"""What batch normalisation is made of.

Shapes: K stacked arrays, B batch, H and W image, C channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def scale_and_shift(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """x * scale + shift with `[K, C]` factors on `[K, B, H, W, C]`, in x's dtype."""
    return (x.astype(scale.dtype) * _stack(scale) + _stack(shift)).astype(x.dtype)


def _scale_and_shift_fwd(x, scale, shift):  # type: ignore[no-untyped-def]
    return scale_and_shift(x, scale, shift), (x, scale)


def _scale_and_shift_bwd(saved, cotangent):  # type: ignore[no-untyped-def]
    x, scale = saved
    axes = (1, 2, 3)
    wide = cotangent.astype(scale.dtype)
    scale_bar = jnp.sum(wide * x.astype(scale.dtype), axes)
    return (wide * _stack(scale)).astype(x.dtype), scale_bar, jnp.sum(wide, axes)


scale_and_shift.defvjp(_scale_and_shift_fwd, _scale_and_shift_bwd)


def batch_statistics(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance `[K, C]` over batch and image of `[K, B, H, W, C]`.

    Ioffe and Szegedy 2015 (arXiv 1502.03167), algorithm 1, lines 1 and 2, with the
    variance as E[x^2] - E[x]^2, as Flax does by default. In float32 or wider.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = jnp.mean(x, axis=(1, 2, 3))
    square = jnp.mean(jnp.square(x), axis=(1, 2, 3))
    return mean, jnp.maximum(square - jnp.square(mean), 0)


def _stack(statistics: jax.Array) -> jax.Array:
    return statistics[:, None, None, None, :]
