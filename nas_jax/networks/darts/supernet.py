"""The mixed-operation supernet of a DARTS space: every kept operation, weighted."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.networks.darts.stack import (
    Place,
    check_image,
    places,
    run_stack,
    stack_specs,
)
from nas_jax.networks.engines import Remat
from nas_jax.networks.engines.loop import run_cell_loop
from nas_jax.networks.engines.mixed import MixedNetwork
from nas_jax.networks.engines.plan import CellPlan, plan_supernet
from nas_jax.networks.engines.waves import Again, run_waves
from nas_jax.networks.engines.weights import ArchWeights
from nas_jax.networks.layers import Layers, Params, project
from nas_jax.networks.parameters import Specs, with_dtype
from nas_jax.networks.record import Observed


class Supernet(MixedNetwork):
    """The supernet of DARTS (cnn/model_search.py): 16 channels and 8 cells there.

    With `remat="op"` a cell is one loop over its operations; otherwise it runs wave by
    wave.
    """

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters, for images of so many channels."""

        def of_cell(place: Place) -> tuple[Specs, int]:
            plan = self.plan(place)
            return plan.specs(place.channels, affine=False), len(plan.concat)

        size = (self.channels, self.cells, self.num_classes)
        return with_dtype({"params": stack_specs(depth, size, of_cell, False)}, dtype)

    def plan(self, place: Place) -> CellPlan:
        """What the cell of a place computes."""
        return plan_supernet(self.mask, place.name, place.reduction)

    def plans(self) -> dict[str, tuple[str, CellPlan, int]]:
        """See `MixedNetwork`."""
        cells = places(self.channels, self.cells)
        return {f"cell_{i}": (p.name, self.plan(p), 0) for i, p in enumerate(cells)}

    def run(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        params: Params,
        layers: Layers,
        key: jax.Array,
    ) -> Observed:
        """The forward pass."""
        check_image(images.shape[1], images.shape[2], self.cells)

        def run_cell(
            index: int,
            place: Place,
            before: jax.Array,
            last: jax.Array,
            params: Params,
        ) -> jax.Array:
            plan, mine = self.plan(place), jax.random.fold_in(key, index)
            run: Any = functools.partial(_run_cell, plan, self.remat, layers)
            if self.remat == "cell":
                run = jax.checkpoint(run)
            return run(before, last, arch_weights[place.name], params, mine)

        cells = places(self.channels, self.cells)
        return run_stack(images, params, layers, cells, run_cell)


def _run_cell(
    plan: CellPlan,
    remat: Remat,
    layers: Layers,
    before: jax.Array,
    last: jax.Array,
    weights: jax.Array,
    params: Params,
    key: jax.Array,
) -> jax.Array:
    """A cell: `[B, H, W, C1], [B, H, W, C2] -> [B, H', W', nodes * C]`."""
    preprocess: Any = functools.partial(project, layers=layers)
    if remat in ("op", "wave"):  # Only states are stored: not their rectified copies.
        preprocess = jax.checkpoint(preprocess)
    inputs = [
        preprocess(before, params["preprocess_0"]),
        preprocess(last, params["preprocess_1"]),
    ]
    if remat == "op":
        return run_cell_loop(plan, inputs, weights, params, layers.norm, key=key)
    again: Again = "wave" if remat == "wave" else "nothing"
    return run_waves(
        plan, inputs, weights, params, layers, mixed=True, again=again, key=key
    )
