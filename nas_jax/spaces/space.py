"""What a search space is: cells, edges and the operations on each edge."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas_jax.spaces.mask import SpaceMask

NONE = "none"
"""The operation that carries no signal.

It is searched, but selected only where a cell keeps all its edges.
"""


@dataclasses.dataclass(frozen=True)
class CellSpec:
    """A directed acyclic graph whose edges each hold a set of operations.

    States `0 .. num_inputs - 1` are the cell's inputs; the nodes that follow are
    computed as the sum of their incoming edges.

    Attributes:
        name: Unique in its space ("normal").
        edges: `(source, target)` pairs of state indices, ordered by target, then
            source. The position in this tuple is the edge's index.
        ops: Names of the candidate operations of every edge, in the order of the
            alphas' last axis.
        edges_per_node: Incoming edges that a node keeps at discretisation, none of
            them with `none`; the nodes together are the output (DARTS). Where it is
            None, a node keeps all its edges, `none` is an operation like the others,
            and the last node is the output (NAS-Bench-201).
    """

    name: str
    num_inputs: int
    num_nodes: int
    edges: tuple[tuple[int, int], ...]
    ops: tuple[str, ...]
    edges_per_node: int | None

    def __post_init__(self) -> None:
        states = self.num_inputs + self.num_nodes
        if list(self.edges) != sorted(set(self.edges), key=lambda e: (e[1], e[0])):
            raise ValueError(f"cell {self.name!r}: edges must be unique, by target")
        for source, target in self.edges:
            if not (0 <= source < target < states and target >= self.num_inputs):
                raise ValueError(
                    f"cell {self.name!r}: edge ({source}, {target}) must point from "
                    f"an earlier state to one of {self.num_inputs}..{states - 1}"
                )
        if len(set(self.ops)) != len(self.ops):
            raise ValueError(f"cell {self.name!r}: operations {self.ops} repeat")

    @property
    def nodes(self) -> range:
        """State indices of the computed nodes."""
        return range(self.num_inputs, self.num_inputs + self.num_nodes)

    def incoming(self, node: int) -> tuple[int, ...]:
        """Indices of the edges that end at a node, by source."""
        return tuple(i for i, (_, target) in enumerate(self.edges) if target == node)

    @property
    def keeps_all_edges(self) -> bool:
        """Whether a genotype has an operation on every edge, `none` included."""
        return self.edges_per_node is None

    @property
    def selectable(self) -> tuple[str, ...]:
        """Operations that a genotype may have."""
        if self.keeps_all_edges:
            return self.ops
        return tuple(op for op in self.ops if op != NONE)

    def num_selected(self, node: int) -> int:
        """Incoming edges that a genotype has at a node."""
        if self.edges_per_node is None:
            return len(self.incoming(node))
        return self.edges_per_node

    @property
    def gene_nodes(self) -> tuple[int, ...]:
        """The node that each gene of a genotype feeds, in the order of the genes."""
        return tuple(n for n in self.nodes for _ in range(self.num_selected(n)))

    @property
    def output(self) -> tuple[int, ...]:
        """States whose concatenation is the output, where a genotype names no other."""
        return (self.nodes[-1],) if self.keeps_all_edges else tuple(self.nodes)


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """A named set of cells; frozen and hashable, so it can be a static argument.

    Attributes:
        family: Name of the networks that its cells are in, see
            `nas_jax.networks.register_family`.
    """

    name: str
    cells: tuple[CellSpec, ...]
    family: str = "darts"

    def cell(self, name: str) -> CellSpec:
        """The cell of that name. Raises `KeyError` that lists the names."""
        cells = {cell.name: cell for cell in self.cells}
        if name not in cells:
            raise KeyError(
                f"space {self.name!r} has no cell {name!r}; it has {[*cells]}"
            )
        return cells[name]

    @property
    def num_operations(self) -> int:
        """Number of (cell, edge, operation) triples."""
        return sum(len(cell.edges) * len(cell.ops) for cell in self.cells)

    def operations(self) -> Iterator[tuple[str, int, str]]:
        """All (cell name, edge index, operation name), in canonical order."""
        for cell in self.cells:
            for edge, op in itertools.product(range(len(cell.edges)), cell.ops):
                yield cell.name, edge, op

    def size(self, mask: SpaceMask | None = None) -> int:
        """Number of genotypes that the space (or what a mask keeps of it) holds.

        A node contributes the elementary symmetric polynomial of its edges' counts of
        selectable operations. DARTS has 1,037,664,180 squared, NAS-Bench-201 15,625.
        """
        total = 1
        for cell in self.cells:
            for node in cell.nodes:
                counts = [
                    sum(
                        mask is None or mask.keeps(cell.name, e, op)
                        for op in cell.selectable
                    )
                    for e in cell.incoming(node)
                ]
                chosen = itertools.combinations(counts, cell.num_selected(node))
                total *= sum(math.prod(combination) for combination in chosen)
        return total
