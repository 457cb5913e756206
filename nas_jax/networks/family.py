"""What families of networks are made of: layers that tell what happens in them.

A family has the networks of a whole search space in one program, with the architecture
as an argument. Shapes: B batch, H and W image, C and D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.networks.conv import conv
from nas_jax.networks.layers import (
    BATCH_NORM_EPSILON,
    Norm,
    batch_statistics,
    scale_and_shift,
    weight,
)
from nas_jax.networks.observed import Observed, Seen

Params = Mapping[str, Any]


class ConvNorm(nn.Module):
    """Parameters of stacked convolutions and of the normalisation behind them.

    Attributes:
        stack: Shape of the stack; nothing for a single convolution.
        size: Height and width of a kernel.
        channels: Channels in and out.
    """

    stack: tuple[int, ...]
    size: int
    channels: tuple[int, int]

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> Params:
        """`kernel` `[*stack, k, k, C, D]`, `scale` and `shift` `[*stack, D]`."""
        shape = (*self.stack, self.size, self.size, *self.channels)
        kernel = weight(self, "kernel", shape, dtype)
        return {"kernel": kernel, **_norm_params(self, shape[:-4] + shape[-1:], dtype)}


class NormParams(nn.Module):
    """Parameters of a normalisation of so many channels."""

    channels: int

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> Params:
        """`scale` and `shift` `[channels]`."""
        return _norm_params(self, (self.channels,), dtype)


class Dense(nn.Module):
    """Parameters of a linear layer.

    Attributes:
        size: Channels in and out.
        bias: Whether it has one.
    """

    size: tuple[int, int]
    bias: bool = True

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> Params:
        """`kernel` `[C, D]` and `bias` `[D]`."""
        params = {"kernel": weight(self, "kernel", self.size, dtype)}
        if self.bias:
            zeros = nn.initializers.zeros
            params["bias"] = self.param("bias", zeros, self.size[1:], dtype)
        return params


def _norm_params(
    module: nn.Module, shape: tuple[int, ...], dtype: jnp.dtype
) -> dict[str, jax.Array]:
    wide = jnp.promote_types(dtype, jnp.float32)
    return {
        "scale": module.param("scale", nn.initializers.ones, shape, wide),
        "shift": module.param("shift", nn.initializers.zeros, shape, wide),
    }


def check_codes(codes: Mapping[str, Any], limits: Mapping[str, np.ndarray]) -> None:
    """Refuses codes that are not below their limits, as far as they are known.

    A branch that is not there would be taken for the last, without a word.

    Args:
        codes: One architecture's arrays by name; may be traced.
        limits: Arrays of their shapes, by name.

    Raises:
        ConfigError: Names the code, its place and what is allowed.
    """
    for name, limit in limits.items():
        if name not in codes:
            raise ConfigError(f"codes lack {name!r}; they have {[*codes]}")
        value = codes[name]
        whole = jnp.issubdtype(value.dtype, jnp.integer)
        if not whole or value.shape != limit.shape:
            raise ConfigError(
                f"codes {name!r} are of dtype {value.dtype} and shape {value.shape}; "
                f"those of one architecture are integers {limit.shape}, a row of what "
                "encode returns"
            )
        if isinstance(value, jax.core.Tracer):
            continue
        known = np.asarray(value)
        wrong = np.argwhere((known < 0) | (known >= limit))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            raise ConfigError(
                f"codes {name!r} hold {known[at]} at {at}; allowed: 0 to "
                f"{limit[at] - 1}"
            )


def gated(x: jax.Array, gate: jax.Array | None) -> jax.Array:
    """`[B, H, W, C]` times its gates `[B, C]`; None changes nothing."""
    return x if gate is None else x * gate[:, None, None, :]


def observed_norm(
    x: jax.Array, norm: Norm, params: Params | None = None
) -> tuple[jax.Array, jax.Array]:
    """Batch normalisation of `[B, H, W, C]` and the variances `[C]` of the batch.

    "running" statistics are those of an untrained network: mean 0 and variance 1.

    Args:
        x: What to normalise.
        norm: What to do.
        params: `scale` and `shift` `[C]`; None for a normalisation without.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    variance = scale = jnp.ones(x.shape[-1:], wide)
    shift = jnp.zeros_like(scale)
    if norm == "identity":
        return x, variance
    if params is not None:
        scale, shift = params["scale"], params["shift"]
    if norm == "batch":
        mean, variance = (s[0] for s in batch_statistics(x[None]))
        scale = scale * lax.rsqrt(variance + BATCH_NORM_EPSILON)
        shift = shift - mean * scale
    elif norm == "running":
        scale = scale * (1 + BATCH_NORM_EPSILON) ** -0.5
    return scale_and_shift(x[None], scale[None], shift[None])[0], variance


def convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolution `[B, H, W, C] x [k, k, C, D] -> [B, H', W', D]`; 1x1 has stride 1."""
    return x @ kernel[0, 0] if kernel.shape[:2] == (1, 1) else conv(x, kernel, stride)


def conv_norm(
    x: jax.Array, params: Params, stride: int, norm: Norm, gate: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Convolution `[B, H, W, C] -> [B, H', W', D]`, gate `[B, D]`, normalisation.

    Returns:
        The result and the variances `[D]` of the batch.
    """
    y = convolve(x, params["kernel"], stride)
    return observed_norm(gated(y, gate), norm, params)


def observed_stem(
    images: jax.Array, channels: int, norm: Norm, seen: Seen
) -> jax.Array:
    """3x3 convolution and normalisation, without a ReLU: module `stem`."""
    size = (images.shape[-1], channels)
    params = ConvNorm((), 3, size, name="stem")(images.dtype)
    gate = seen.gate(images.shape[0], channels, 9 * images.shape[-1])
    y, variance = conv_norm(images, params, 1, norm, gate)
    seen.norm(variance)
    return y


def observed_classifier(feature_map: jax.Array, classes: int, seen: Seen) -> Observed:
    """Mean over the image and a linear layer: module `classifier`.

    Args:
        feature_map: `[B, H, W, F]`.
        classes: Number of logits.
        seen: What the rest of the network noted.
    """
    # The loss is computed in float32 or wider, whatever the cells use.
    wide = jnp.promote_types(feature_map.dtype, jnp.float32)
    features = jnp.mean(feature_map.astype(wide), (1, 2))
    dense = Dense((features.shape[-1], classes), name="classifier")(wide)
    logits = features @ dense["kernel"] + dense["bias"]
    gate = seen.gate(features.shape[0], classes, features.shape[-1])
    return Observed(
        logits if gate is None else logits * gate,
        features,
        feature_map,
        seen.relu_inputs,
        seen.variances,
        seen.channels,
    )
