"""NAS-Bench-201's supernet: every kept operation of every edge, weighted.

Dong and Yang 2020 (arXiv 2001.00326), figure 1 and section 4; the network is that of
AutoDL-Projects' searches (lib/models/cell_searchs/search_model_darts.py): operations
are normalised by the batch without parameters, stem and residual blocks with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.engines.plan import CellPlan, plan_supernet
from nas_jax.networks.engines.waves import Again, run_waves
from nas_jax.networks.engines.weights import ArchWeights, check_weights
from nas_jax.networks.layers import Layers, Norm, Params
from nas_jax.networks.nasbench201.stages import (
    CELL,
    STAGES,
    network_specs,
    run_network,
)
from nas_jax.networks.parameters import Specs, cast, declare, with_dtype
from nas_jax.networks.record import Observed, Recorder
from nas_jax.spaces import SpaceMask

_AGAIN: dict[Remat, Again] = dict(
    zip(get_args(Remat), ("nothing", "kind", "wave", "nothing"), strict=True)
)


class NasBench201Supernet(nn.Module):
    """A one-shot network over NAS-Bench-201 (Liu et al. 2019, section 2.2).

    Operations that the mask drops are not built. To compare many candidates in one
    program, keep the mask and give architecture weights with zeros instead.

    Attributes:
        mask: The operations to build.
        channels: Channels of the first stage; they double with each (published: 16).
        cells: Cells of each stage (published: 5).
        num_classes: Number of logits.
        norm: What batch normalisation does.
        remat: What the backward pass computes again: nothing, each kind of operation of
            the edges that leave a node, all of them ("wave"), or the cell.
        dtype: What convolutions and pools compute in. Parameters, statistics and the
            loss are float32 or wider all the same.
    """

    mask: SpaceMask
    channels: int = 16
    cells: int = 5
    num_classes: int = 10
    norm: Norm = "batch"
    remat: Remat = "op"
    dtype: Dtype = "float32"

    def __call__(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, image channels]`, float.

        Args:
            images: The batch.
            arch_weights: `{"cell": [6, 5]}`, one weight for each operation of the
                space. Entries of pruned operations are not read.
            key: For operations that draw, of which there are none.

        Raises:
            ConfigError: If the image cannot be halved twice.
            MaskError: The weights are none of these operations, see `check_weights`.
        """
        del key
        logits = self._forward(images, arch_weights, None).logits
        assert logits is not None
        return logits

    def observe(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits and all that proxies ask for; what nobody reads is not computed.

        A layer takes part, and a ReLU is counted, where an operation's weight is above
        zero.

        Args:
            images: As for the call.
            arch_weights: As for the call.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: As the call does; or something is computed again, of which
                nothing can be told.
        """
        if self.remat != "none":
            raise ConfigError(
                f"a supernet with remat={self.remat!r} cannot be observed; take "
                "network.clone(remat='none')"
            )
        return self._forward(images, arch_weights, Recorder(gates))

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters, for images of so many channels."""
        size = (self.channels, self.cells, self.num_classes)

        def of_cell(channels: int) -> Specs:
            return self._plan().specs(channels, affine=False)

        return with_dtype({"params": network_specs(depth, size, of_cell)}, dtype)

    def live(self, params: Params, arch_weights: ArchWeights) -> Any:
        """1 for every layer whose operation has a weight above zero, else 0.

        Args:
            params: Parameters, values or shapes.
            arch_weights: `{"cell": [6, 5]}`; zero where not alive.

        Returns:
            The tree of `params` with float32 arrays: `[cells, K]` for stacked kernels,
            and `[]` for all else.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        alive = self._plan().live(arch_weights[CELL.name])
        for stage in range(STAGES):
            own = live[f"stage_{stage}"]
            for op, chosen in alive.items():
                rows = jnp.tile(chosen, (self.cells, 1))
                own[op] = jax.tree.map(lambda _, r=rows: r, own[op])
        return live

    def _plan(self) -> CellPlan:
        return plan_supernet(self.mask, CELL.name)

    @nn.compact
    def _forward(
        self, images: jax.Array, arch_weights: ArchWeights, record: Recorder | None
    ) -> Observed:
        check_weights(arch_weights, self.mask.arrays(), not self.is_initializing())
        if self.dtype == "bfloat16":
            images = images.astype(jnp.bfloat16)
        variables = declare(self, self.specs(images.shape[-1], images.dtype))
        params = cast(variables["params"], images.dtype)
        plan, weights = self._plan(), arch_weights[CELL.name]

        def run_cell(x: jax.Array, own: Params, layers: Layers) -> jax.Array:
            again = _AGAIN[self.remat]
            return run_waves(plan, [x], weights, own, layers, mixed=False, again=again)

        layers = Layers(self.norm, record)
        again = self.remat == "cell"
        return run_network(images, params, layers, self.cells, run_cell, again)
