"""The discrete networks of a DARTS space, all of them, as one program.

Liu et al. 2019 (arXiv 1806.09055), section 2.1, and cnn/model.py of its code. The
genotype is an argument, so scoring another one compiles nothing; a gene computes the
one operation that it has. Under `vmap` over architectures every operation is computed
and one is selected.

Shapes: B batch, H and W image, G genes of a cell, 2 cells of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks.darts.stack import (
    Place,
    check_image,
    places,
    run_stack,
    stack_specs,
)
from nas_jax.networks.engines.coded import CodedCell, CodedNetwork, Codes
from nas_jax.networks.layers import Layers, Params, project
from nas_jax.networks.parameters import Specs, with_dtype
from nas_jax.networks.record import Observed
from nas_jax.spaces import Genotype, SearchSpace, darts_space


class CodedDarts(CodedNetwork):
    """The network of any genotype: stem, stack of cells, classifier.

    The network of `DerivedNetwork` without running statistics, and without parameters
    in the normalisation of its cells: as NAS-Bench-301's proxies were computed. All
    nodes of a cell are its output. Codes are `operations` and `sources`, `[2, G]`.

    Attributes:
        space: A DARTS space.
    """

    space: SearchSpace = darts_space()

    def run(
        self, images: jax.Array, codes: Codes, params: Params, layers: Layers
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
            operations = dict(params)
            inputs = [
                project(before, operations.pop("preprocess_0"), layers),
                project(last, operations.pop("preprocess_1"), layers),
            ]
            key = jax.random.fold_in(jax.random.key(0), index)
            own = self._codes(place, codes)
            return self._cell(place)(inputs, own, operations, layers, key)

        cells = places(self.channels, self.cells)
        return run_stack(images, params, layers, cells, run_cell)

    @property
    def code_limits(self) -> dict[str, np.ndarray]:
        """What an architecture's arrays are below, by name."""
        cells = self.space.cells
        kinds = [[len(c.selectable)] * len(c.gene_nodes) for c in cells]
        nodes = [c.gene_nodes for c in cells]
        return {"operations": np.array(kinds), "sources": np.array(nodes)}

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Specs]:
        """Parameters of every operation of every gene, for so many image channels."""

        def of_cell(place: Place) -> tuple[Specs, int]:
            cell = self._cell(place)
            return cell.specs(), len(cell.spec.output)

        size = (self.channels, self.cells, self.num_classes)
        return with_dtype({"params": stack_specs(depth, size, of_cell, False)}, dtype)

    def coded_cells(self, codes: Codes) -> dict[str, tuple[CodedCell, Codes, int]]:
        """See `CodedNetwork`."""
        return {
            f"cell_{i}": (self._cell(place), self._codes(place, codes), 0)
            for i, place in enumerate(places(self.channels, self.cells))
        }

    def unbuilt(self, codes: Codes) -> jax.Array:
        """Factors of an architecture's normalisations in cells, which it has not here.

        The discrete network of an architecture (`DerivedNetwork`; DARTS, cnn/model.py)
        has a scale and a shift for each channel behind each of its 1x1 convolutions.
        """
        total = jnp.zeros(())
        for cell, own, _ in self.coded_cells(codes).values():
            total += cell.norm_parameters(own)
            total += 2 * 2 * cell.channels  # Those of the two inputs.
        return total

    def encode(self, genotypes: Sequence[Genotype]) -> dict[str, np.ndarray]:
        """Genotypes as arrays: `operations` and `sources`, int32 `[N, 2, G]`.

        Operations are their index among the selectable ones; cells are in the order of
        the space, genes in their canonical order: equal genotypes have equal codes, and
        so use equal weights.

        Raises:
            GenotypeError: A genotype is of another space, or the output of one of its
                cells is not all nodes.
        """
        rows = [self._genes(genotype) for genotype in genotypes]
        genes = len(self.space.cells[0].gene_nodes)
        codes = np.array(rows, np.int32).reshape(-1, 2, genes, 2)
        return {"operations": codes[..., 0], "sources": codes[..., 1]}

    def _genes(self, genotype: Genotype) -> list[list[tuple[int, int]]]:
        if genotype.space != self.space:
            raise GenotypeError(
                f"a genotype of {genotype.space.name!r} is no architecture of "
                f"{self.space.name!r}; give genotypes of that space"
            )
        cells = genotype.canonical().cells
        for spec, cell in zip(self.space.cells, cells, strict=True):
            if cell.concat != spec.output:
                raise GenotypeError(
                    f"cell {cell.name!r} concatenates the states {cell.concat}; coded "
                    f"networks have {spec.output}, all nodes; build DerivedNetwork for "
                    "this genotype"
                )
        return [
            [(spec.selectable.index(op), source) for op, source in cell.genes]
            for spec, cell in zip(self.space.cells, cells, strict=True)
        ]

    def _cell(self, place: Place) -> CodedCell:
        spec = self.space.cell(place.name)
        return CodedCell(spec, place.channels, place.reduction)

    def _codes(self, place: Place, codes: Codes) -> Codes:
        row = [c.name for c in self.space.cells].index(place.name)
        return {name: array[row] for name, array in codes.items()}


def check_space(space: SearchSpace) -> None:
    """Refuses a space that is none of DARTS' kind.

    Raises:
        ConfigError: Names its cells and what is needed.
    """
    names = [cell.name for cell in space.cells]
    if names != ["normal", "reduce"] or any(c.num_inputs != 2 for c in space.cells):
        raise ConfigError(
            f"space {space.name!r} has the cells {names}; DARTS networks need a normal "
            "and a reduce cell of two inputs, as darts_space() has"
        )
