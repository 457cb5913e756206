"""NAS-Bench-201's networks, all 15,625 of them, as one program.

Dong and Yang 2020 (arXiv 2001.00326), section 2.1 and figure 1. The architecture is an
argument, so scoring another one compiles nothing; an edge computes the one operation
that it has, and equal cells are turns of one loop. Under `vmap` over architectures
every operation is computed and one is selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.engines.coded import CodedCell, CodedNetwork, Codes
from nas_jax.networks.layers import Layers, Params
from nas_jax.networks.nasbench201.stages import (
    CELL,
    STAGES,
    network_specs,
    run_network,
)
from nas_jax.networks.parameters import Specs, with_dtype
from nas_jax.networks.record import Observed
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS, operations_of


class CodedNasBench201(CodedNetwork):
    """The network of any architecture: stem, three stages of cells, classifier.

    A convolution is ReLU, convolution, batch normalisation with parameters; pools are
    not normalised. Codes are `operations`, index in `NASBENCH201_OPS` of each edge's
    operation, `[6]`.
    """

    cells: int = 5

    def run(
        self, images: jax.Array, codes: Codes, params: Params, layers: Layers
    ) -> Observed:
        """The forward pass."""

        def run_cell(x: jax.Array, own: Params, layers: Layers) -> jax.Array:
            cell = CodedCell(CELL, x.shape[-1], affine=True)
            return cell([x], codes, own, layers)

        # A backward pass computes a cell again: what it stores of all cells goes
        # through memory four times, which takes a CPU longer.
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

    def coded_cells(self, codes: Codes) -> dict[str, tuple[CodedCell, Codes, int]]:
        """See `CodedNetwork`."""
        cell = CodedCell(CELL, self.channels, affine=True)
        return {f"stage_{i}": (cell, codes, self.cells) for i in range(STAGES)}

    def encode(self, genotypes: Sequence[Genotype]) -> dict[str, np.ndarray]:
        """Genotypes as arrays: `operations`, int32 `[N, 6]`.

        Raises:
            GenotypeError: A genotype is of another space.
        """
        index = {op: i for i, op in enumerate(NASBENCH201_OPS)}
        rows = [[index[op] for op in operations_of(g)] for g in genotypes]
        return {"operations": np.array(rows, np.int32).reshape(-1, len(CELL.edges))}
