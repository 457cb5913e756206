"""The mixed-operation supernet: every kept operation of every edge, weighted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.backbone import (
    STEM_MULTIPLIER,
    Classifier,
    Stem,
    check_image,
    places,
)
from nas_jax.networks.cell import Cell, Remat
from nas_jax.networks.layers import Norm
from nas_jax.networks.plan import plan_supernet
from nas_jax.spaces import SearchSpace, SpaceMask

Dtype = Literal["float32", "bfloat16"]
"""What a supernet computes in; float64 images are left alone."""

ArchWeights = Mapping[str, jax.Array]
"""Architecture weights `[edges, operations]` by cell name; rows sum to 1."""


class Supernet(nn.Module):
    """A one-shot network over a search space (Liu et al. 2019, section 2.2).

    Operations that the mask drops are not built: they have no parameters, and nothing
    of them is in the traced program. To compare many candidates in one program, keep
    the mask and give architecture weights with zeros instead (`mixture_weights` with
    `live`). Normalisation uses the statistics of the batch and keeps none.

    Attributes:
        mask: The operations to build.
        channels: Channels of the first cell's states (DARTS: 16).
        layers: Number of cells (DARTS: 8).
        num_classes: Number of logits.
        norm: What batch normalisation does.
        remat: What the backward pass computes again.
        dtype: What convolutions and pools compute in. Parameters, statistics, sums of
            operations and the loss are float32 or wider all the same.
    """

    mask: SpaceMask
    channels: int
    layers: int
    num_classes: int
    norm: Norm = "batch"
    remat: Remat = "op"
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, images: jax.Array, arch_weights: ArchWeights) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, channels]`, float.

        Args:
            images: The batch.
            arch_weights: One weight for each operation of the space, an argument and
                never a parameter. Entries of pruned operations are not read.

        Raises:
            ConfigError: If the image cannot be halved as often as there are
                reduction cells.
        """
        check_image(images.shape[1], images.shape[2], self.layers)
        if self.dtype == "bfloat16":
            images = images.astype(jnp.bfloat16)
        stem = Stem(STEM_MULTIPLIER * self.channels, self.norm, name="stem")(images)
        plans = {
            c.name: plan_supernet(self.mask, c.name) for c in self.mask.space.cells
        }
        module = nn.remat(Cell) if self.remat == "cell" else Cell
        before, last = stem, stem
        for index, place in enumerate(places(self.channels, self.layers)):
            cell = module(
                plans[place.name],
                place.channels,
                place.reduction,
                place.reduce_first,
                norm=self.norm,
                remat=self.remat,
                name=f"cell_{index}",
            )
            before, last = last, cell(before, last, arch_weights[place.name])
        return Classifier(self.num_classes, name="classifier")(last)


def zero_alphas(space: SearchSpace) -> dict[str, jax.Array]:
    """Alphas `[edges, operations]` float32 for each cell, all operations equal."""
    return {c.name: jnp.zeros((len(c.edges), len(c.ops))) for c in space.cells}


def init_alphas(space: SearchSpace, key: jax.Array) -> dict[str, jax.Array]:
    """DARTS' start: 1e-3 times a standard normal (cnn/model_search.py)."""
    keys = jax.random.split(key, len(space.cells))
    return {
        c.name: 1e-3 * jax.random.normal(k, (len(c.edges), len(c.ops)))
        for c, k in zip(space.cells, keys, strict=True)
    }


def mixture_weights(
    alphas: ArchWeights, live: Mapping[str, jax.Array | np.ndarray]
) -> dict[str, jax.Array]:
    """Masked softmax over each edge's operations (arXiv 2505.13586, Mix(x, O)).

        w_o = I(o) exp(a_o) / sum_o' I(o') exp(a_o')

    Args:
        alphas: `[edges, operations]` by cell name.
        live: 0/1 or boolean I, same shapes: a mask's arrays or a traced candidate.

    Returns:
        Weights that are exactly 0 where `live` is 0; other rows sum to 1.
    """
    return {
        name: jax.nn.softmax(
            jnp.where(jnp.asarray(live[name]).astype(bool), alpha, -jnp.inf), axis=-1
        )
        for name, alpha in alphas.items()
    }
