"""A discrete architecture of a cell space, its notation and its JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_jax.errors import GenotypeError
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.notation import (
    Gene,
    architecture_genes,
    architecture_string,
    call_fields,
    has_architecture_strings,
    json_fields,
)
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace


@dataclasses.dataclass(frozen=True)
class CellGenotype:
    """The genes of one cell.

    Attributes:
        name: The cell's name.
        genes: `(operation, source state)` pairs in the order of the nodes,
            `edges_per_node` for each; in the order of the edges where that is None.
        concat: States whose concatenation is the cell's output.
    """

    name: str
    genes: tuple[Gene, ...]
    concat: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Genotype:
    """One architecture: frozen, hashable, checked against its space when made.

    Attributes:
        space: The search space.
        cells: One entry for each cell of the space, in its order.
    """

    space: SearchSpace
    cells: tuple[CellGenotype, ...]

    def __post_init__(self) -> None:
        if [c.name for c in self.cells] != [c.name for c in self.space.cells]:
            raise GenotypeError(
                f"a genotype of {self.space.name!r} has the cells "
                f"{[c.name for c in self.space.cells]}; got "
                f"{[c.name for c in self.cells]}"
            )
        for spec, cell in zip(self.space.cells, self.cells, strict=True):
            _check_cell(spec, cell)

    @classmethod
    def parse(cls, space: SearchSpace, text: str) -> Genotype:
        """From the notation of the space, or JSON.

        DARTS writes `Genotype(normal=[('skip_connect', 0), ...`. It is read as a syntax
        tree of literals; nothing in it is executed. A space of one cell that keeps all
        its edges has architecture strings, `|skip_connect~0|+|none~0|...`.

        Raises:
            GenotypeError: If it is neither notation, or not of this space.
        """
        text = text.strip()
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
            genes = _genes(spec, fields.pop(spec.name))
            concat = fields.pop(f"{spec.name}_concat", list(spec.output))
            if not _is_list(concat) or not all(type(state) is int for state in concat):
                raise GenotypeError(
                    f"{spec.name}_concat must list state indices; got {concat!r}"
                )
            cells.append(CellGenotype(spec.name, genes, tuple(concat)))
        if fields:
            raise GenotypeError(f"the genotype has unknown fields {sorted(fields)}")
        return cls(space, tuple(cells))

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
            chosen: dict[int, set[str]] = {e: set() for e in range(len(spec.edges))}
            for node, (op, source) in zip(spec.gene_nodes, cell.genes, strict=True):
                chosen[spec.edges.index((source, node))].add(op)
            kept.append(
                tuple(
                    tuple(o for o in spec.ops if o in (ops or {NONE}))
                    for ops in chosen.values()
                )
            )
        return SpaceMask(self.space, tuple(kept))


def discretise(mask: SpaceMask, probabilities: Mapping[str, np.ndarray]) -> Genotype:
    """The genotype of DARTS' rule (Liu et al. 2019, section 2.4).

    Every edge is as strong as its strongest kept operation other than `none`; every
    node keeps its `edges_per_node` strongest edges, each with that operation. Ties go
    to the lower edge index and to the operation that comes first in the space.

    A cell that keeps all its edges has the strongest kept operation of each, `none`
    included (NAS-Bench-201, Dong and Yang 2020).

    Args:
        mask: The operations that can be chosen.
        probabilities: Softmax of the alphas `[edges, operations]` by cell name.

    Raises:
        GenotypeError: On a missing cell, a wrong shape or a value that is not a number.
    """
    cells = []
    for spec in mask.space.cells:
        if spec.name not in probabilities:
            raise GenotypeError(
                f"no probabilities of cell {spec.name!r}; given: {[*probabilities]}"
            )
        weights = np.asarray(probabilities[spec.name], np.float64)
        if weights.shape != (len(spec.edges), len(spec.ops)):
            raise GenotypeError(
                f"probabilities of {spec.name!r} have shape {weights.shape}; expected "
                f"{(len(spec.edges), len(spec.ops))}"
            )
        if np.isnan(weights).any():
            raise GenotypeError(f"probabilities of {spec.name!r} hold NaN")
        genes: list[Gene] = []
        for node in spec.nodes:
            best: list[tuple[float, int, str]] = []
            for edge in spec.incoming(node):
                options = [
                    (-weights[edge, i], i, op)
                    for i, op in enumerate(spec.ops)
                    if op in spec.selectable and mask.keeps(spec.name, edge, op)
                ]
                if options:
                    strength, _, op = min(options)
                    best.append((strength, edge, op))
            if not spec.keeps_all_edges:
                best = sorted(best)[: spec.edges_per_node]
            genes += [(op, spec.edges[edge][0]) for _, edge, op in best]
        cells.append(CellGenotype(spec.name, tuple(genes), spec.output))
    return Genotype(mask.space, tuple(cells))


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
    if not cell.concat or len(set(cell.concat)) != len(cell.concat):
        raise GenotypeError(
            f"cell {cell.name!r}: concat {cell.concat} repeats or empty"
        )
    if any(state not in spec.nodes for state in cell.concat):
        raise GenotypeError(
            f"cell {cell.name!r}: concat {cell.concat} must hold states of the nodes, "
            f"{list(spec.nodes)}"
        )
    if spec.keeps_all_edges and cell.concat != spec.output:
        raise GenotypeError(
            f"cell {cell.name!r}: concat {cell.concat} must be {spec.output}, the last "
            "node"
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _genes(spec: CellSpec, value: object) -> tuple[Gene, ...]:
    genes = []
    for gene in value if isinstance(value, list | tuple) else [value]:
        if not (
            isinstance(gene, list | tuple)
            and len(gene) == 2
            and isinstance(gene[0], str)
            and type(gene[1]) is int
        ):
            raise GenotypeError(
                f"genes of {spec.name!r} are (operation, source state) pairs; got "
                f"{gene!r}"
            )
        genes.append((gene[0], gene[1]))
    return tuple(genes)
