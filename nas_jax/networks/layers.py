"""Parts that every cell is made of: normalisation, pooling and projections.

Shapes: K stacked edges, B batch, H and W image, C and D channels. All of them work on
stacks `[K, B, H, W, C]`; a single image batch is a stack of one.
"""

from __future__ import annotations

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.networks.sown import (
    gate_channels,
    is_watched,
    sow_relu_input,
    sow_variances,
)

Norm = Literal["batch", "running", "identity"]
"""What batch normalisation does: statistics of the batch, running statistics, or
nothing at all, neither scale nor shift (synflow's linear network; Tanaka et al. 2020,
arXiv 2006.05467, and the `no_op` of the code of arXiv 2101.08134)."""

BATCH_NORM_EPSILON = 1e-5
"""PyTorch's `eps` (DARTS leaves it at its default)."""
BATCH_NORM_MOMENTUM = 0.1
"""PyTorch's `momentum`: the weight of the new batch in the running statistics."""


def fan_in(name: str, shape: tuple[int, ...]) -> int:
    """Inputs of one output of a weight, from the parameter's name and shape.

    `*depthwise*` is `[K, k, k, C]`, `*pointwise*` is `[K, C, D]`, `kernel` is
    `[..., k, k, C, D]` of an ordinary convolution or `[C, D]` of a linear layer.
    """
    if "depthwise" in name:
        return shape[1] * shape[2]
    if "pointwise" in name:
        return shape[1]
    return math.prod(shape[-4:-1])


def uniform_fan_in(name: str) -> nn.initializers.Initializer:
    """PyTorch's default for convolutions and linear layers: U(-b, b), b = fan_in^-1/2.

    `kaiming_uniform_(a=sqrt(5))` of He et al. 2015 (arXiv 1502.01852) has the gain
    sqrt(1/3), hence the bound sqrt(3) * sqrt(1/3) / sqrt(fan_in).
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        bound = fan_in(name, shape) ** -0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def weight(
    module: nn.Module, name: str, shape: tuple[int, ...], dtype: jnp.dtype
) -> jax.Array:
    """A weight of a module, initialised by `uniform_fan_in`.

    It is kept in float32 or wider, and handed over in the dtype of the computation.
    """
    kept = jnp.promote_types(dtype, jnp.float32)
    return module.param(name, uniform_fan_in(name), shape, kept).astype(dtype)


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


def normalize(x: jax.Array, norm: Norm) -> jax.Array:
    """Batch normalisation of `[K, B, H, W, C]` without parameters (supernets).

    Under "running" statistics, which a supernet does not keep, they are those of an
    untrained network: mean 0 and variance 1.
    """
    if norm == "identity":
        return x
    if norm == "running":
        return x * np.asarray((1 + BATCH_NORM_EPSILON) ** -0.5, x.dtype)
    mean, variance = batch_statistics(x)
    scale = lax.rsqrt(variance + BATCH_NORM_EPSILON)
    return scale_and_shift(x, scale, -mean * scale)


def _stack(statistics: jax.Array) -> jax.Array:
    return statistics[:, None, None, None, :]


class BatchNorm(nn.Module):
    """Batch normalisation of a stack `[K, B, H, W, C]`, each input on its own.

    Attributes:
        norm: What to do; see `Norm`.
        affine: Whether to scale and shift by parameters `[K, C]`.
        tracked: Whether to keep running statistics (collection `batch_stats`). A
            supernet does not: it is only ever used with the statistics of the batch.
    """

    norm: Norm = "batch"
    affine: bool = False
    tracked: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, count: jax.Array | None = None) -> jax.Array:
        """Normalised x; updates the running statistics where they are mutable.

        Args:
            x: The stack.
            count: `[K]`, how many normalisations of the network have this input; None
                for one each. Only for those who look on.
        """
        if is_watched(self):
            variances = batch_statistics(x)[1]
            if self.norm != "batch":
                variances = jnp.ones_like(variances)
            sow_variances(self, variances, count)
        if not self.affine and not self.tracked:
            return normalize(x, self.norm)
        shape = (x.shape[0], x.shape[-1])
        wide = jnp.promote_types(x.dtype, jnp.float32)
        gamma, beta = jnp.ones(shape, wide), jnp.zeros(shape, wide)
        if self.affine:
            gamma = self.param("scale", nn.initializers.ones, shape, wide)
            beta = self.param("shift", nn.initializers.zeros, shape, wide)
        if self.norm == "identity":
            return x
        mean, variance = self._statistics(x, shape, wide)
        scale = lax.rsqrt(variance + BATCH_NORM_EPSILON)
        shift = -mean * scale
        return scale_and_shift(x, gamma * scale, gamma * shift + beta)

    def _statistics(
        self, x: jax.Array, shape: tuple[int, int], wide: jnp.dtype
    ) -> tuple[jax.Array, jax.Array]:
        now = batch_statistics(x) if self.norm == "batch" else None
        if not self.tracked:  # Of an untrained network: mean 0 and variance 1.
            return now or (jnp.zeros(shape, wide), jnp.ones(shape, wide))
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, wide)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape, wide)
        if now is None:
            return mean.value, variance.value
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count = x.size // (shape[0] * shape[1])
            unbiased = now[1] * (count / max(count - 1, 1))
            mean.value += BATCH_NORM_MOMENTUM * (now[0] - mean.value)
            variance.value += BATCH_NORM_MOMENTUM * (unbiased - variance.value)
        return now


def halve(x: jax.Array, w_even: jax.Array, w_odd: jax.Array) -> jax.Array:
    """Factorised reduction of `[K, B, H, W, C]` (DARTS, `FactorizedReduce`).

    Two 1x1 convolutions of stride 2 `[K, C, D / 2]`, the second one pixel further down
    and right, side by side: no pixel of x is left out on the diagonal.
    """
    even = pointwise_conv(x[:, :, ::2, ::2], w_even)
    odd = pointwise_conv(x[:, :, 1::2, 1::2], w_odd)
    return jnp.concatenate([even, odd], axis=-1)


class Projection(nn.Module):
    """A cell's preprocessing: ReLU, 1x1 convolution or factorised reduction, norm.

    Attributes:
        channels: Channels out.
        reduce: Whether to halve the image.
    """

    channels: int
    reduce: bool
    norm: Norm = "batch"
    affine: bool = False
    tracked: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C] -> [B, H, W, channels]`, half the size where reducing."""
        x = x[None]
        sow_relu_input(self, x, None)
        inside = x.shape[-1]
        x = nn.relu(x)
        if self.reduce:
            widths = (self.channels // 2, self.channels - self.channels // 2)
            even, odd = (
                weight(self, f"pointwise_{name}", (1, inside, width), x.dtype)
                for name, width in zip(("even", "odd"), widths, strict=True)
            )
            x = halve(x, even, odd)
        else:
            shape = (1, inside, self.channels)
            x = pointwise_conv(x, weight(self, "pointwise", shape, x.dtype))
        x = gate_channels(self, "channels", x, inside, None)
        return BatchNorm(self.norm, self.affine, self.tracked)(x)[0]
