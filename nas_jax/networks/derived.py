"""The discrete network of a genotype."""

from __future__ import annotations

import flax.linen as nn
import jax

from nas_jax.networks.backbone import (
    STEM_MULTIPLIER,
    Classifier,
    Stem,
    check_image,
    places,
)
from nas_jax.networks.cell import Cell
from nas_jax.networks.layers import Norm
from nas_jax.networks.plan import plan_genotype
from nas_jax.spaces import Genotype


class DerivedNetwork(nn.Module):
    """What a genotype describes, to be trained from scratch (DARTS, cnn/model.py).

    Normalisation has parameters and keeps running statistics (collection
    `batch_stats`); pools are not normalised.

    Attributes:
        genotype: The architecture.
        channels: Channels of the first cell's states (DARTS: 36).
        layers: Number of cells (DARTS: 20).
        num_classes: Number of logits.
    """

    genotype: Genotype
    channels: int
    layers: int
    num_classes: int

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, channels]`, float.

        Args:
            images: The batch.
            train: Whether to normalise by the batch (and update the running
                statistics where they are mutable) or by the running statistics.

        Raises:
            ConfigError: If the image cannot be halved as often as there are
                reduction cells.
        """
        check_image(images.shape[1], images.shape[2], self.layers)
        norm: Norm = "batch" if train else "running"
        space = self.genotype.space
        plans = {
            cell.name: plan_genotype(space.cell(cell.name), cell)
            for cell in self.genotype.cells
        }
        stem = Stem(STEM_MULTIPLIER * self.channels, norm, True, name="stem")(images)
        before, last = stem, stem
        for index, place in enumerate(places(self.channels, self.layers)):
            cell = Cell(
                plans[place.name],
                place.channels,
                place.reduction,
                place.reduce_first,
                norm=norm,
                discrete=True,
                name=f"cell_{index}",
            )
            before, last = last, cell(before, last, None)
        return Classifier(self.num_classes, name="classifier")(last)
