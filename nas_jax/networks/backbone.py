"""What supernets and discrete networks share: stem, stack of cells, classifier."""

from __future__ import annotations

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.layers import BatchNorm, Norm, weight
from nas_jax.networks.sown import gate_channels, is_watched

STEM_MULTIPLIER = 3
"""The stem has three times the channels of the first cell (DARTS)."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a cell stands in the stack.

    Attributes:
        name: Name of the cell in the search space, "normal" or "reduce".
        channels: Channels of its states.
        reduction: Whether it halves the image.
        reduce_first: Whether the cell before it did.
    """

    name: str
    channels: int
    reduction: bool
    reduce_first: bool


def reduction_layers(layers: int) -> tuple[int, ...]:
    """Positions of the reduction cells: a third and two thirds of the depth (DARTS).

    Two layers are TE-NAS' thin network, a normal and a reduction cell (arXiv
    2102.11535; lib/models/cell_searchs/search_model_darts_nasnet.py).
    """
    if layers < 3:
        return (layers - 1,)
    return (layers // 3, 2 * layers // 3)


def places(channels: int, layers: int) -> tuple[Place, ...]:
    """Every cell of a network; channels double at each reduction."""
    result: list[Place] = []
    reductions = reduction_layers(layers)
    for index in range(layers):
        reduction = index in reductions
        channels *= 2 if reduction else 1
        after = bool(result) and result[-1].reduction
        name = "reduce" if reduction else "normal"
        result.append(Place(name, channels, reduction, after))
    return tuple(result)


def check_image(height: int, width: int, layers: int) -> None:
    """Refuse an image that the reduction cells cannot halve.

    Raises:
        ConfigError: Names the size, the divisor and the nearest sizes that work.
    """
    divisor = 2 ** len(reduction_layers(layers))
    if height % divisor or width % divisor or min(height, width) < 2 * divisor:
        nearest = max(2, round(max(height, width) / divisor)) * divisor
        raise ConfigError(
            f"image size {height}x{width} does not fit {layers} layers: they halve the "
            f"image {len(reduction_layers(layers))} times, so height and width must be "
            f"multiples of {divisor}, at least {2 * divisor}; resize the images, for "
            f"example to {nearest}x{nearest}"
        )


class Stem(nn.Module):
    """3x3 convolution and batch normalisation with parameters.

    Attributes:
        channels: Channels out.
    """

    channels: int
    norm: Norm = "batch"
    tracked: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """`[B, H, W, image channels] -> [B, H, W, channels]`."""
        shape = (3, 3, images.shape[-1], self.channels)
        x = jax.lax.conv_general_dilated(
            images,
            weight(self, "kernel", shape, images.dtype),
            window_strides=(1, 1),
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[None]
        x = gate_channels(self, "channels", x, math.prod(shape[:3]), None)
        return BatchNorm(self.norm, True, self.tracked, name="norm")(x)[0]


class Classifier(nn.Module):
    """Global average pooling and a linear layer.

    Attributes:
        num_classes: Number of logits.
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C] -> [B, num_classes]`; who looks on gets x, and x pooled."""
        if is_watched(self, "feature_map"):
            self.sow("feature_map", "features", x)
        # The loss is computed in float32 or wider, whatever the cells use.
        features = jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), (1, 2))
        if is_watched(self, "features"):
            self.sow("features", "pooled", features)
        shape = (features.shape[-1], self.num_classes)
        kernel = weight(self, "kernel", shape, features.dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], features.dtype)
        logits = (features @ kernel + bias)[None]
        return gate_channels(self, "channels", logits, shape[0], None)[0]
