"""A discrete architecture of a cell space, its notation and its JSON."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from nas_jax.errors import GenotypeError
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.notation import (
    Gene,
    architecture_genes,
    architecture_string,
    call_fields,
    cell_genes,
    has_architecture_strings,
    json_fields,
)
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace
from nas_jax.spaces.text import BYTE_ORDER_MARK


@dataclasses.dataclass(frozen=True)
class CellGenotype:
    """The genes of one cell, as they are listed: equal where the lists are.

    Attributes:
        genes: `(operation, source state)` pairs in the order of `CellSpec.gene_nodes`.
        concat: States whose concatenation is the cell's output.
    """

    name: str
    genes: tuple[Gene, ...]
    concat: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Genotype:
    """One architecture: frozen, hashable, checked against its space when made.

    A node is a sum, and the order of the output's channels is a name for them. So
    genotypes are equal, and have one hash, however the genes of a node and `concat` are
    listed; networks are built of `canonical()`. What is printed keeps its order.

    Attributes:
        cells: One entry for each cell of the space, in its order.
    """

    space: SearchSpace
    cells: tuple[CellGenotype, ...]

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.space.cells]
        given = [cell.name for cell in self.cells]
        if given != names:
            raise GenotypeError(
                f"a genotype of {self.space.name!r} has the cells {names}; got {given}"
            )
        for spec, cell in zip(self.space.cells, self.cells, strict=True):
            _check_cell(spec, cell)

    @classmethod
    def parse(cls, space: SearchSpace, text: str) -> Genotype:
        """From the notation of the space, or JSON.

        DARTS writes `Genotype(normal=[('skip_connect', 0), ...`. It is read as a syntax
        tree of literals; nothing in it is executed. A name or a line of a log may stand
        before it, and genes may be written as other repositories do, see `cell_genes`.
        A space of one cell that keeps all its edges has architecture strings,
        `|skip_connect~0|+|none~0|...`.

        Raises:
            GenotypeError: If it is neither notation, or not of this space.
        """
        text = text.removeprefix(BYTE_ORDER_MARK).strip()
        if text.startswith("{"):
            fields = json_fields(space, text)
        elif has_architecture_strings(space):
            (spec,) = space.cells
            fields = {spec.name: architecture_genes(spec, text)}
        else:
            fields = call_fields(text)
        cells = []
        for spec in space.cells:
            if spec.name not in fields:
                raise GenotypeError(
                    f"the genotype lacks the field {spec.name!r}; it has {[*fields]}"
                )
            genes = cell_genes(spec, fields.pop(spec.name))
            concat = fields.pop(f"{spec.name}_concat", list(spec.output))
            if not isinstance(concat, list | tuple) or not all(
                type(state) is int for state in concat
            ):
                raise GenotypeError(
                    f"{spec.name}_concat must list state indices; got {concat!r}"
                )
            cells.append(CellGenotype(spec.name, genes, tuple(concat)))
        if fields:
            raise GenotypeError(f"the genotype has unknown fields {sorted(fields)}")
        return cls(space, tuple(cells))

    def canonical(self) -> Genotype:
        """The same architecture in the one order that all its listings share.

        The genes of a node are sorted by source, and then by operation, `concat` too.
        """
        return self if self.cells == self._key else Genotype(self.space, self._key)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same architecture of the same space."""
        if not isinstance(other, Genotype):
            return NotImplemented
        return self._key == other._key and self.space == other.space

    def __hash__(self) -> int:
        """Of the canonical order, without the space: few genotypes differ in it."""
        return hash(self._key)

    @functools.cached_property
    def _key(self) -> tuple[CellGenotype, ...]:
        """The cells in their canonical order."""
        cells = zip(self.space.cells, self.cells, strict=True)
        return tuple(_sorted_cell(spec, cell) for spec, cell in cells)

    def __str__(self) -> str:
        """The notation of the space; `parse` reads it back."""
        if has_architecture_strings(self.space):
            return architecture_string(self.space.cells[0], self.cells[0].genes)
        parts = []
        for cell in self.cells:
            low, high = min(cell.concat), max(cell.concat) + 1
            whole = cell.concat == tuple(range(low, high))
            concat = f"range({low}, {high})" if whole else str(list(cell.concat))
            parts.append(f"{cell.name}={list(cell.genes)}, {cell.name}_concat={concat}")
        return f"Genotype({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain containers for JSON; `parse` reads `json.dumps` of it."""
        data: dict[str, Any] = {}
        for cell in self.cells:
            data[cell.name] = [list(gene) for gene in cell.genes]
            data[f"{cell.name}_concat"] = list(cell.concat)
        return data

    def mask(self) -> SpaceMask:
        """The smallest valid mask that contains this genotype.

        Edges that the genotype does not use keep `none`, so the mask cuts no edge.
        """
        kept = []
        for spec, cell in zip(self.space.cells, self.cells, strict=True):
            chosen = dict.fromkeys(spec.edges, NONE)
            for node, (op, source) in zip(spec.gene_nodes, cell.genes, strict=True):
                chosen[source, node] = op
            kept.append(tuple((op,) for op in chosen.values()))
        return SpaceMask(self.space, tuple(kept))


def _sorted_cell(spec: CellSpec, cell: CellGenotype) -> CellGenotype:
    genes = zip(spec.gene_nodes, cell.genes, strict=True)
    ordered = sorted((node, source, op) for node, (op, source) in genes)
    return CellGenotype(
        cell.name,
        tuple((op, source) for _, source, op in ordered),
        tuple(sorted(cell.concat)),
    )


def _check_cell(spec: CellSpec, cell: CellGenotype) -> None:
    expected = len(spec.gene_nodes)
    if len(cell.genes) != expected:
        raise GenotypeError(
            f"cell {cell.name!r} has {len(cell.genes)} genes; {spec.num_nodes} nodes "
            f"of {spec.edges_per_node or 'all their'} edges need {expected}"
        )
    pairs = [*zip(spec.gene_nodes, cell.genes, strict=True)]
    for node in spec.nodes:
        genes = [gene for target, gene in pairs if target == node]
        for op, source in genes:
            if op not in spec.selectable:
                raise GenotypeError(
                    f"cell {cell.name!r} has operation {op!r}; allowed: "
                    f"{', '.join(spec.selectable)}"
                )
            if (source, node) not in spec.edges:
                raise GenotypeError(
                    f"cell {cell.name!r}: node {node} cannot take state {source}"
                )
        sources = [source for _, source in genes]
        if len(set(sources)) != len(sources):
            raise GenotypeError(
                f"cell {cell.name!r}: node {node} takes a state twice, {sources}; its "
                "edges come from different states"
            )
        if spec.keeps_all_edges and sources != sorted(sources):
            raise GenotypeError(
                f"cell {cell.name!r}: node {node} takes the states {sources}; "
                f"expected them in the order of its edges, {sorted(sources)}"
            )
    where = f"cell {cell.name!r}: concat {cell.concat}"
    if not cell.concat or len(set(cell.concat)) != len(cell.concat):
        raise GenotypeError(f"{where} repeats or empty")
    if any(state not in spec.nodes for state in cell.concat):
        raise GenotypeError(
            f"{where} must hold states of the nodes, {list(spec.nodes)}"
        )
    if spec.keeps_all_edges and cell.concat != spec.output:
        raise GenotypeError(f"{where} must be {spec.output}, the last node")
