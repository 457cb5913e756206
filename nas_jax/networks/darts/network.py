"""The discrete network of a genotype of a DARTS space."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.networks.darts.stack import (
    Place,
    check_image,
    places,
    run_stack,
    stack_specs,
)
from nas_jax.networks.engines.plan import CellPlan, plan_genotype
from nas_jax.networks.engines.waves import run_waves
from nas_jax.networks.layers import Layers, Params, project
from nas_jax.networks.parameters import (
    Specs,
    keep_statistics,
    statistics_of,
    tracked,
    with_dtype,
)
from nas_jax.spaces import Genotype


class DerivedNetwork(nn.Module):
    """What a genotype describes, to be trained from scratch (DARTS, cnn/model.py).

    Normalisation has parameters and keeps running statistics (collection
    `batch_stats`); pools are not normalised.

    Attributes:
        genotype: The architecture.
        channels: Channels of the first cell's states (DARTS: 36).
        cells: Number of cells (DARTS: 20).
        num_classes: Number of logits.
    """

    genotype: Genotype
    channels: int
    cells: int
    num_classes: int

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, channels]`, float.

        Args:
            images: The batch.
            train: Whether to normalise by the batch (and update the running
                statistics where they are mutable) or by the running statistics.
            key: For operations that draw; None is always the same.

        Raises:
            ConfigError: If the image cannot be halved as often as there are
                reduction cells.
        """
        check_image(images.shape[1], images.shape[2], self.cells)
        params = tracked(self, self.specs(images.shape[-1], images.dtype))
        layers = Layers("batch" if train else "running")
        key = jax.random.key(0) if key is None else key

        def run_cell(
            index: int,
            place: Place,
            before: jax.Array,
            last: jax.Array,
            params: Params,
        ) -> jax.Array:
            inputs = [
                project(before, params["preprocess_0"], layers),
                project(last, params["preprocess_1"], layers),
            ]
            plan, mine = self._plan(place), jax.random.fold_in(key, index)
            return run_waves(plan, inputs, None, params, layers, mixed=False, key=mine)

        cells = places(self.channels, self.cells)
        logits = run_stack(images, params, layers, cells, run_cell).logits
        keep_statistics(self, params)
        assert logits is not None
        return logits

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters and running statistics, for images of so many channels."""

        def of_cell(place: Place) -> tuple[Specs, int]:
            plan = self._plan(place)
            return plan.specs(place.channels, affine=True), len(plan.concat)

        size = (self.channels, self.cells, self.num_classes)
        params = stack_specs(depth, size, of_cell, affine=True)
        return with_dtype(
            {"params": params, "batch_stats": statistics_of(params)}, dtype
        )

    def _plan(self, place: Place) -> CellPlan:
        spec = self.genotype.space.cell(place.name)
        (cell,) = (c for c in self.genotype.cells if c.name == place.name)
        return plan_genotype(spec, cell, place.reduction)
