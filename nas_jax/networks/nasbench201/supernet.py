"""NAS-Bench-201's supernet: every kept operation of every edge, weighted.

Dong and Yang 2020 (arXiv 2001.00326), figure 1 and section 4; the network is that of
AutoDL-Projects' searches (lib/models/cell_searchs/search_model_darts.py): operations
are normalised by the batch without parameters, stem and residual blocks with them.
"""

from __future__ import annotations

from typing import Any, get_args

import jax
import jax.numpy as jnp

from nas_jax.networks.engines import Remat
from nas_jax.networks.engines.mixed import MixedNetwork
from nas_jax.networks.engines.plan import CellPlan, plan_supernet
from nas_jax.networks.engines.waves import Again, run_waves
from nas_jax.networks.engines.weights import ArchWeights
from nas_jax.networks.layers import Layers, Params
from nas_jax.networks.nasbench201.stages import (
    CELL,
    STAGES,
    network_specs,
    run_network,
)
from nas_jax.networks.parameters import Specs, with_dtype
from nas_jax.networks.record import Observed

_AGAIN: dict[Remat, Again] = dict(
    zip(get_args(Remat), ("nothing", "kind", "wave", "nothing"), strict=True)
)


class NasBench201Supernet(MixedNetwork):
    """The supernet of NAS-Bench-201: 16 channels and 5 cells of each stage there.

    With `remat="op"` each kind of operation of the edges that leave a node is computed
    again, with "wave" all of them.
    """

    cells: int = 5

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters, for images of so many channels."""
        size = (self.channels, self.cells, self.num_classes)
        plan = plan_supernet(self.mask, CELL.name)

        def of_cell(channels: int) -> Specs:
            return plan.specs(channels, affine=False)

        return with_dtype({"params": network_specs(depth, size, of_cell)}, dtype)

    def plans(self) -> dict[str, tuple[str, CellPlan, int]]:
        """See `MixedNetwork`."""
        plan = plan_supernet(self.mask, CELL.name)
        return {f"stage_{i}": (CELL.name, plan, self.cells) for i in range(STAGES)}

    def run(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        params: Params,
        layers: Layers,
        key: jax.Array,
    ) -> Observed:
        """The forward pass."""
        plan, weights = plan_supernet(self.mask, CELL.name), arch_weights[CELL.name]
        again = _AGAIN[self.remat]

        def run_cell(x: jax.Array, own: Params, layers: Layers) -> jax.Array:
            return run_waves(
                plan, [x], weights, own, layers, mixed=False, again=again, key=key
            )

        whole = self.remat == "cell"
        return run_network(images, params, layers, self.cells, run_cell, whole)
