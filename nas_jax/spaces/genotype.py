"""A discrete architecture of a cell space, in DARTS' notation and as JSON."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nas_jax.errors import GenotypeError
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace

Gene = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class CellGenotype:
    """The genes of one cell.

    Attributes:
        name: The cell's name.
        genes: `(operation, source state)` pairs, `edges_per_node` for each node, in
            the order of the nodes.
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
        """From DARTS' notation, `Genotype(normal=[('skip_connect', 0), ...`, or JSON.

        The text is read as a syntax tree of literals; nothing in it is executed.

        Raises:
            GenotypeError: If it is neither notation, or not of this space.
        """
        text = text.strip()
        if text.startswith("{"):
            fields = _json_fields(space, text)
        else:
            fields = _call_fields(text)
        cells = []
        for spec in space.cells:
            if spec.name not in fields:
                raise GenotypeError(
                    f"the genotype lacks the field {spec.name!r}; it has {[*fields]}"
                )
            genes = _genes(spec, fields.pop(spec.name))
            concat = fields.pop(f"{spec.name}_concat", list(spec.nodes))
            if not _is_list(concat) or not all(type(state) is int for state in concat):
                raise GenotypeError(
                    f"{spec.name}_concat must list state indices; got {concat!r}"
                )
            cells.append(CellGenotype(spec.name, genes, tuple(concat)))
        if fields:
            raise GenotypeError(f"the genotype has unknown fields {sorted(fields)}")
        return cls(space, tuple(cells))

    def __str__(self) -> str:
        """DARTS' notation; `parse` reads it back."""
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
            for node, genes in zip(spec.nodes, _by_node(spec, cell.genes), strict=True):
                for op, source in genes:
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
                    if op != NONE and mask.keeps(spec.name, edge, op)
                ]
                if options:
                    strength, _, op = min(options)
                    best.append((strength, edge, op))
            best.sort()
            chosen = best[: spec.edges_per_node]
            genes += [(op, spec.edges[edge][0]) for _, edge, op in chosen]
        cells.append(CellGenotype(spec.name, tuple(genes), tuple(spec.nodes)))
    return Genotype(mask.space, tuple(cells))


def _by_node(spec: CellSpec, genes: tuple[Gene, ...]) -> list[tuple[Gene, ...]]:
    k = spec.edges_per_node
    return [genes[i : i + k] for i in range(0, len(genes), k)]


def _check_cell(spec: CellSpec, cell: CellGenotype) -> None:
    expected = spec.num_nodes * spec.edges_per_node
    if len(cell.genes) != expected:
        raise GenotypeError(
            f"cell {cell.name!r} has {len(cell.genes)} genes; {spec.num_nodes} nodes "
            f"of {spec.edges_per_node} edges need {expected}"
        )
    for node, genes in zip(spec.nodes, _by_node(spec, cell.genes), strict=True):
        for op, source in genes:
            if op not in spec.ops or op == NONE:
                allowed = ", ".join(o for o in spec.ops if o != NONE)
                raise GenotypeError(
                    f"cell {cell.name!r} has operation {op!r}; allowed: {allowed}"
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
    if not cell.concat or len(set(cell.concat)) != len(cell.concat):
        raise GenotypeError(
            f"cell {cell.name!r}: concat {cell.concat} repeats or empty"
        )
    if any(state not in spec.nodes for state in cell.concat):
        raise GenotypeError(
            f"cell {cell.name!r}: concat {cell.concat} must hold states of the nodes, "
            f"{list(spec.nodes)}"
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


def _json_fields(space: SearchSpace, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenotypeError(f"the genotype is not JSON: {error}") from None
    if isinstance(data.get("genotype"), dict):
        # A whole genotype.json, which says what space it is of.
        if data.get("space", space.name) != space.name:
            raise GenotypeError(
                f"the genotype is of space {data['space']!r}, not {space.name!r}"
            )
        return dict(data["genotype"])
    return dict(data)


def _call_fields(text: str) -> dict[str, Any]:
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GenotypeError(
            f"not a genotype: {text[:60]!r} ({type(error).__name__}); expected "
            "Genotype(normal=[('sep_conv_3x3', 0), ...], ...) or its JSON"
        ) from None
    named = isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
    if not (named and tree.func.id == "Genotype" and not tree.args):  # type: ignore
        raise GenotypeError(
            f"not a genotype: {text[:60]!r}; expected Genotype(normal=[...], ...) with "
            "fields by name"
        )
    assert isinstance(tree, ast.Call)
    fields: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg is None or keyword.arg in fields:
            raise GenotypeError(
                f"genotype field {keyword.arg!r} is repeated or unnamed"
            )
        fields[keyword.arg] = _literal(keyword.arg, keyword.value)
    return fields


def _literal(field: str, node: ast.expr) -> Any:
    """A literal, or `range(a, b)` of literals: the only call that genotypes hold."""
    try:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "range"
            and not node.keywords
        ):
            bounds = [ast.literal_eval(argument) for argument in node.args]
            if all(type(b) is int and 0 <= b <= 1000 for b in bounds):
                return list(range(*bounds))
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        pass
    raise GenotypeError(
        f"genotype field {field!r} holds a {type(node).__name__}; only lists of "
        "literals and range(a, b) are allowed: code is never run"
    )
