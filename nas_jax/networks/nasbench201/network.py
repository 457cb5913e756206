"""The network of one NAS-Bench-201 architecture, to be trained from scratch."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.networks.engines.plan import CellPlan, plan_genotype
from nas_jax.networks.engines.waves import run_waves
from nas_jax.networks.layers import Layers, Params
from nas_jax.networks.nasbench201.stages import (
    CELL,
    check_halves,
    network_specs,
    run_network,
)
from nas_jax.networks.parameters import (
    Specs,
    keep_statistics,
    statistics_of,
    tracked,
    with_dtype,
)
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import operations_of


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
    def __call__(
        self, images: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, image channels]`, float.

        Args:
            images: The batch.
            train: Whether to normalise by the batch (and update the running
                statistics where they are mutable) or by the running statistics.
            key: For operations that draw, of which there are none.

        Raises:
            ConfigError: If the image cannot be halved twice.
            GenotypeError: If the genotype is of another space.
        """
        del key
        check_halves(*images.shape[1:3])
        params = tracked(self, self.specs(images.shape[-1], images.dtype))
        layers = Layers("batch" if train else "running")
        plan = self._plan()

        def run_cell(x: jax.Array, own: Params, layers: Layers) -> jax.Array:
            return run_waves(plan, [x], None, own, layers, mixed=False)

        logits = run_network(images, params, layers, self.cells, run_cell).logits
        keep_statistics(self, params)
        assert logits is not None
        return logits

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters and running statistics, for images of so many channels."""
        size = (self.channels, self.cells, self.num_classes)

        def of_cell(channels: int) -> Specs:
            return self._plan().specs(channels, affine=True)

        params = network_specs(depth, size, of_cell)
        return with_dtype(
            {"params": params, "batch_stats": statistics_of(params)}, dtype
        )

    def _plan(self) -> CellPlan:
        operations_of(self.genotype)
        return plan_genotype(CELL, self.genotype.cells[0])
