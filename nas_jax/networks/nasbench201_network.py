"""The network of one NAS-Bench-201 architecture, to be trained from scratch."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.networks.backbone import Classifier, Stem
from nas_jax.networks.conv import conv
from nas_jax.networks.layers import BatchNorm, Norm, weight
from nas_jax.networks.nasbench201 import AREAS, STAGES, check_halves
from nas_jax.networks.pools import avg_pool
from nas_jax.spaces import Genotype, nasbench201_space
from nas_jax.spaces.nasbench201 import operations_of

_CELL = nasbench201_space().cells[0]


class NasBench201Network(nn.Module):
    """Stem, three stages of cells, classifier (Dong and Yang 2020, figure 1).

    The network of AutoDL-Projects (lib/models/cell_infers/tiny_network.py), whose
    parameters NAS-Bench-201 publishes: normalisation has parameters and keeps running
    statistics (collection `batch_stats`); pools are not normalised.

    Attributes:
        genotype: The architecture.
        channels: Channels of the first stage; they double with each (published: 16).
        cells: Cells of each stage (published: 5).
        num_classes: Number of logits.
    """

    genotype: Genotype
    channels: int = 16
    cells: int = 5
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, image channels]`, float.

        Args:
            images: The batch.
            train: Whether to normalise by the batch (and update the running
                statistics where they are mutable) or by the running statistics.

        Raises:
            ConfigError: If the image cannot be halved twice.
            GenotypeError: If the genotype is of another space.
        """
        check_halves(*images.shape[1:3])
        norm: Norm = "batch" if train else "running"
        operations = operations_of(self.genotype)
        # Equal cells, one after another: one loop over stacked variables.
        stack: Any = nn.scan(
            _Cell,
            variable_axes={"params": 0, "batch_stats": 0},
            split_rngs={"params": True},
            length=self.cells,
        )
        channels = self.channels
        x = Stem(channels, norm, True, name="stem")(images)
        for stage in range(STAGES):
            if stage:
                channels *= 2
                x = _Reduction(channels, norm, name=f"reduce_{stage}")(x)
            x, _ = stack(operations, norm, name=f"stage_{stage}")(x, None)
        x = BatchNorm(norm, True, True, name="last_norm")(x[None])[0]
        return Classifier(self.num_classes, name="classifier")(nn.relu(x))


class _ConvNorm(nn.Module):
    """ReLU, convolution, batch normalisation with running statistics."""

    size: int
    channels: int
    stride: int
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.channels)
        kernel = weight(self, "kernel", shape, x.dtype)
        x = nn.relu(x)
        y = x @ kernel[0, 0] if self.size == 1 else conv(x, kernel, self.stride)
        return BatchNorm(self.norm, True, True, name="norm")(y[None])[0]


class _Cell(nn.Module):
    """A cell `[B, H, W, C] -> [B, H, W, C]`, as the body of a loop."""

    operations: tuple[str, ...]
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array, _: None) -> tuple[jax.Array, None]:
        nodes = {0: x}
        for edge, ((source, target), op) in enumerate(
            zip(_CELL.edges, self.operations, strict=True)
        ):
            result = nodes[source]
            if op in AREAS:
                size, channels = round(AREAS[op] ** 0.5), x.shape[-1]
                name = f"edge_{edge}"
                result = _ConvNorm(size, channels, 1, self.norm, name=name)(result)
            elif op == "avg_pool_3x3":
                result = avg_pool(result[None], 1)[0]
            elif op != "skip_connect":
                result = jnp.zeros_like(result)
            nodes[target] = nodes[target] + result if target in nodes else result
        return nodes[_CELL.nodes[-1]], None


class _Reduction(nn.Module):
    """ResNet's basic block of stride 2, with a mean pool in its shortcut."""

    channels: int
    norm: Norm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        kernel = weight(self, "kernel", (channels, self.channels), x.dtype)
        shortcut = jnp.mean(squares, axis=(2, 4)) @ kernel
        for name, stride in (("a", 2), ("b", 1)):
            x = _ConvNorm(3, self.channels, stride, self.norm, name=name)(x)
        return shortcut + x
