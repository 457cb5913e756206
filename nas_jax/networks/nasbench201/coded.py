"""NAS-Bench-201's networks, all 15,625 of them, as one program.

Dong and Yang 2020 (arXiv 2001.00326), section 2.1 and figure 1. The architecture is an
argument, so scoring another one compiles nothing; an edge computes the one operation
that it has, and equal cells are turns of one loop. Under `vmap` over architectures
every operation is computed and one is selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.engines.coded import CodedCell, Codes, check_codes
from nas_jax.networks.layers import Layers, Norm, Params
from nas_jax.networks.nasbench201.stages import (
    CELL,
    STAGES,
    check_halves,
    network_specs,
    run_network,
)
from nas_jax.networks.parameters import Specs, declare, with_dtype
from nas_jax.networks.record import Observed, Recorder
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS, operations_of


class CodedNasBench201(nn.Module):
    """The network of any architecture: stem, three stages of cells, classifier.

    A convolution is ReLU, convolution, batch normalisation with parameters; pools are
    not normalised. Normalisation keeps no running statistics: it is there to be scored
    and to share weights.

    Attributes:
        channels: Channels of the first stage; they double with each (published: 16).
        cells: Cells of each stage (published: 5).
        num_classes: Number of logits.
        norm: What batch normalisation does.
    """

    channels: int = 16
    cells: int = 5
    num_classes: int = 10
    norm: Norm = "batch"

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        codes: Codes,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits of an architecture, and all that proxies ask for.

        What nobody reads is not in the compiled program.

        Args:
            images: `[B, H, W, image channels]`, float.
            codes: `operations`, index in `NASBENCH201_OPS` of each edge's operation,
                `[6]` int32; may be traced.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: If the image cannot be halved twice, or the operations are
                not those of one architecture.
        """
        check_halves(*images.shape[1:3])
        check_codes(codes, self.code_limits)
        params = declare(self, self.specs(images.shape[-1], images.dtype))["params"]

        def run_cell(x: jax.Array, own: Params, layers: Layers) -> jax.Array:
            cell = CodedCell(CELL, x.shape[-1], affine=True)
            return cell([x], codes, own, layers)

        # A backward pass computes a cell again: what it stores of all cells goes
        # through memory four times, which takes a CPU longer.
        layers = Layers(self.norm, Recorder(gates))
        return run_network(images, params, layers, self.cells, run_cell, again=True)

    @property
    def code_limits(self) -> dict[str, np.ndarray]:
        """What an architecture's arrays are below, by name."""
        return {"operations": np.full(len(CELL.edges), len(NASBENCH201_OPS))}

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters of every operation of every edge, for so many image channels."""
        size = (self.channels, self.cells, self.num_classes)

        def of_cell(channels: int) -> Specs:
            return CodedCell(CELL, channels, affine=True).specs()

        return with_dtype({"params": network_specs(depth, size, of_cell)}, dtype)

    def live(self, params: Params, codes: Codes) -> Any:
        """1 for every layer that an architecture has, else 0.

        Args:
            params: Parameters, values or shapes.
            codes: The architecture.

        Returns:
            The tree of `params` with float32 arrays: `[cells, edges]` for what is
            stacked, and `[]` for all else.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        alive = CodedCell(CELL, self.channels, affine=True).live(codes)
        for stage in range(STAGES):
            own = live[f"stage_{stage}"]
            for op, chosen in alive.items():
                rows = jnp.tile(chosen, (self.cells, 1))
                own[op] = jax.tree.map(lambda _, r=rows: r, own[op])
        return live

    def unbuilt(self, codes: Codes) -> jax.Array:
        """Parameters of an architecture that are not here: none."""
        del codes
        return jnp.zeros(())

    def encode(self, genotypes: Sequence[Genotype]) -> dict[str, np.ndarray]:
        """Genotypes as arrays: `operations`, int32 `[N, 6]`.

        Raises:
            GenotypeError: A genotype is of another space.
        """
        index = {op: i for i, op in enumerate(NASBENCH201_OPS)}
        rows = [[index[op] for op in operations_of(g)] for g in genotypes]
        return {"operations": np.array(rows, np.int32).reshape(-1, len(CELL.edges))}
