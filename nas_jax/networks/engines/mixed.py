"""What all supernets have in common: a mask, architecture weights, and who looks on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.engines.plan import CellPlan
from nas_jax.networks.engines.weights import ArchWeights, check_weights
from nas_jax.networks.layers import Layers, Norm, Params
from nas_jax.networks.parameters import Specs, cast, declare
from nas_jax.networks.record import Observed, Recorder
from nas_jax.spaces import SpaceMask


class MixedNetwork(nn.Module):
    """A one-shot network over a search space (Liu et al. 2019, section 2.2).

    Operations that the mask drops are not built: they have no parameters, and nothing
    of them is in the traced program. To compare many candidates in one program, keep
    the mask and give architecture weights with zeros instead (`mixture_weights` with
    `live`). Normalisation uses the statistics of the batch and keeps none.

    Attributes:
        mask: The operations to build.
        channels: Channels of the first cells.
        cells: Cells of the network, or of each stage where it has stages.
        num_classes: Number of logits.
        norm: What batch normalisation does.
        remat: What the backward pass computes again.
        dtype: What convolutions and pools compute in. Parameters, statistics and the
            loss are float32 or wider all the same.
    """

    mask: SpaceMask
    channels: int = 16
    cells: int = 8
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
        """Logits `[B, num_classes]` of images `[B, H, W, channels]`, float.

        Args:
            images: The batch.
            arch_weights: One weight for each operation of the space, an argument and
                never a parameter. Entries of pruned operations are not read.
            key: For operations that draw; None is always the same.

        Raises:
            ConfigError: If the image cannot be halved as often as the network does.
            MaskError: The weights are none of these operations, see `check_weights`.
        """
        logits = self._forward(images, arch_weights, key, None).logits
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
        return self._forward(images, arch_weights, None, Recorder(gates))

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters, for images of so many channels."""
        raise NotImplementedError

    def plans(self) -> dict[str, tuple[str, CellPlan, int]]:
        """Cell of the space, plan and repeats (0 for one) by name of its parameters."""
        raise NotImplementedError

    def run(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        params: Params,
        layers: Layers,
        key: jax.Array,
    ) -> Observed:
        """The forward pass."""
        raise NotImplementedError

    def live(self, params: Params, arch_weights: ArchWeights) -> Any:
        """1 for every layer whose operation has a weight above zero, else 0.

        Args:
            params: Parameters, values or shapes.
            arch_weights: `[edges, operations]` by cell name; zero where not alive.

        Returns:
            The tree of `params` with float32 arrays: `[K]` for stacked layers, `[N, K]`
            in a stage of N cells, and `[]` for the others.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        for name, (cell, plan, repeats) in self.plans().items():
            for op, alive in plan.live(arch_weights[cell]).items():
                rows = jnp.tile(alive, (repeats, 1)) if repeats else alive
                own = live[name][op]
                live[name][op] = jax.tree.map(lambda _, rows=rows: rows, own)
        return live

    @nn.compact
    def _forward(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        key: jax.Array | None,
        record: Recorder | None,
    ) -> Observed:
        check_weights(arch_weights, self.mask.arrays(), not self.is_initializing())
        if self.dtype == "bfloat16":
            images = images.astype(jnp.bfloat16)
        variables = declare(self, self.specs(images.shape[-1], images.dtype))
        params = cast(variables["params"], images.dtype)
        key = jax.random.key(0) if key is None else key
        return self.run(images, arch_weights, params, Layers(self.norm, record), key)
