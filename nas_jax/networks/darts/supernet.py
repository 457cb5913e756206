"""The mixed-operation supernet of a DARTS space: every kept operation, weighted."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.darts.stack import (
    Place,
    check_image,
    places,
    run_stack,
    stack_specs,
)
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.engines.loop import run_cell_loop
from nas_jax.networks.engines.plan import CellPlan, plan_supernet
from nas_jax.networks.engines.waves import Again, run_waves
from nas_jax.networks.engines.weights import ArchWeights, check_weights
from nas_jax.networks.layers import Layers, Norm, Params, project
from nas_jax.networks.parameters import Specs, cast, declare, with_dtype
from nas_jax.networks.record import Observed, Recorder
from nas_jax.spaces import SpaceMask


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
        remat: What the backward pass computes again. With "op" a cell is one loop over
            its operations; otherwise it runs wave by wave.
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
            ConfigError: If the image cannot be halved as often as there are
                reduction cells.
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

        def of_cell(place: Place) -> tuple[Specs, int]:
            plan = self.plan(place)
            return plan.specs(place.channels, affine=False), len(plan.concat)

        size = (self.channels, self.layers, self.num_classes)
        return with_dtype({"params": stack_specs(depth, size, of_cell, False)}, dtype)

    def live(self, params: Params, arch_weights: ArchWeights) -> Any:
        """1 for every layer whose operation has a weight above zero, else 0.

        Args:
            params: Parameters, values or shapes.
            arch_weights: `[edges, operations]` by cell name; zero where not alive.

        Returns:
            The tree of `params` with float32 arrays `[K]` for stacked layers, `[]` for
            the others.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        for index, place in enumerate(places(self.channels, self.layers)):
            own = live[f"cell_{index}"]
            for op, alive in self.plan(place).live(arch_weights[place.name]).items():
                own[op] = jax.tree.map(lambda _, a=alive: a, own[op])
        return live

    def plan(self, place: Place) -> CellPlan:
        """What the cell of a place computes."""
        return plan_supernet(self.mask, place.name, place.reduction)

    @nn.compact
    def _forward(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        key: jax.Array | None,
        record: Recorder | None,
    ) -> Observed:
        check_weights(arch_weights, self.mask.arrays(), not self.is_initializing())
        check_image(images.shape[1], images.shape[2], self.layers)
        if self.dtype == "bfloat16":
            images = images.astype(jnp.bfloat16)
        variables = declare(self, self.specs(images.shape[-1], images.dtype))
        params = cast(variables["params"], images.dtype)
        layers = Layers(self.norm, record)
        key = jax.random.key(0) if key is None else key

        def run_cell(
            index: int,
            place: Place,
            before: jax.Array,
            last: jax.Array,
            params: Params,
        ) -> jax.Array:
            plan = self.plan(place)
            run: Any = functools.partial(_run_cell, plan, self.remat, layers)
            if self.remat == "cell":
                run = jax.checkpoint(run)
            mine = jax.random.fold_in(key, index)
            return run(before, last, arch_weights[place.name], params, mine)

        cells = places(self.channels, self.layers)
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
