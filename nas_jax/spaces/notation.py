"""How genotypes are written: DARTS' notation, architecture strings and JSON."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from nas_jax.errors import GenotypeError
from nas_jax.spaces.space import CellSpec, SearchSpace
from nas_jax.spaces.text import short

Gene = tuple[str, int]
"""An operation and the state that it reads."""

_CALL = re.compile(r"(?<![\w.])(?:\w+\.)*Genotype\s*\(")
# Fields of AutoDL-Projects' genotypes for connections that DARTS' cells do not have.
_CONNECTIONS = ("connectN", "connects")


def has_architecture_strings(space: SearchSpace) -> bool:
    """Whether genotypes are written as NAS-Bench-201's architecture strings."""
    return len(space.cells) == 1 and space.cells[0].keeps_all_edges


def architecture_string(cell: CellSpec, genes: Sequence[Gene]) -> str:
    """NAS-Bench-201's notation: `|op~0|+|op~0|op~1|+...`, one group for each node."""
    groups: dict[int, str] = dict.fromkeys(cell.nodes, "|")
    for node, (op, source) in zip(cell.gene_nodes, genes, strict=True):
        groups[node] += f"{op}~{source}|"
    return "+".join(groups.values())


def architecture_genes(cell: CellSpec, text: str) -> tuple[Gene, ...]:
    """The genes of an architecture string; the inverse of `architecture_string`.

    Raises:
        GenotypeError: On any text that `architecture_string` does not write.
    """
    groups = text.split("+")
    if len(groups) != cell.num_nodes:
        expected = "+".join(_expected_group(cell, node) for node in cell.nodes)
        raise GenotypeError(
            f"not an architecture of cell {cell.name!r}: {short(text)} has "
            f"{len(groups)} groups; expected {cell.num_nodes}, one for each node: "
            f"{expected}"
        )
    genes: list[Gene] = []
    for node, group in zip(cell.nodes, groups, strict=True):
        sources = [cell.edges[edge][0] for edge in cell.incoming(node)]
        parts = group[1:-1].split("|")
        if group != f"|{'|'.join(parts)}|" or len(parts) != len(sources):
            raise GenotypeError(
                f"node {node} of cell {cell.name!r} is {short(group)}; expected "
                f"{_expected_group(cell, node)}"
            )
        for part, source in zip(parts, sources, strict=True):
            op, _, state = part.partition("~")
            if op not in cell.selectable or state != str(source):
                raise GenotypeError(
                    f"node {node} of cell {cell.name!r} has {short(part)}; expected "
                    f"an operation and '~{source}', the state that it reads; "
                    f"operations: {', '.join(cell.selectable)}"
                )
            genes.append((op, source))
    return tuple(genes)


def json_fields(space: SearchSpace, text: str) -> dict[str, Any]:
    """The fields of a genotype's JSON, or of a whole `genotype.json`.

    Raises:
        GenotypeError: It is not JSON, or of another space.
    """
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
        data = data["genotype"]
    return _without_connections(data)


def call_fields(text: str) -> dict[str, Any]:
    """The fields of DARTS' notation, `Genotype(normal=[...], normal_concat=...)`.

    What stands before it is passed over: `NAME = `, or the rest of a line of a log.

    Raises:
        GenotypeError: There is not one such call, with literals, at the end.
    """
    calls = [*_CALL.finditer(text)]
    if len(calls) > 1:
        first, second = (text.count("\n", 0, c.start()) + 1 for c in calls[:2])
        raise GenotypeError(
            f"the text has {len(calls)} genotypes, the first ones in lines {first} and "
            f"{second}; give one of them"
        )
    call = text[calls[0].start() :] if calls else text
    # Where all of it is an expression, the genotype is a part of a computation.
    tree = _expression(text) or _expression(call)
    if not (
        calls
        and isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name | ast.Attribute)
        and not tree.args
    ):
        raise GenotypeError(
            f"not a genotype: {short(call)}; expected "
            "Genotype(normal=[('sep_conv_3x3', 0), ...], ...) with fields by name and "
            "nothing behind it, or its JSON"
        )
    fields: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg is None or keyword.arg in fields:
            raise GenotypeError(
                f"genotype field {keyword.arg!r} is repeated or unnamed"
            )
        fields[keyword.arg] = _literal(keyword.arg, keyword.value)
    return _without_connections(fields)


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def cell_genes(cell: CellSpec, value: object) -> tuple[Gene, ...]:
    """The genes of a cell, however repositories write them.

    - DARTS: `(operation, source state)`, node by node;
    - the same with a weight behind, a float, which is dropped (FairDARTS' logs);
    - both nested by node (AutoDL-Projects);
    - `(operation, node, source state)`, two integers (FairDARTS' own cells).

    Raises:
        GenotypeError: On anything else.
    """
    genes = value if _is_list(value) else [value]
    assert isinstance(genes, list | tuple)
    if genes and all(_is_list(g) and all(map(_is_list, g)) for g in genes):
        return _by_node(cell, [[_gene(cell, g) for g in group] for group in genes])
    if genes and all(_names_node(g) for g in genes):
        groups: dict[int, list[Gene]] = {node: [] for node in cell.nodes}
        for gene in genes:
            if gene[1] not in groups:
                raise _no_gene(cell, gene)
            groups[gene[1]].append((gene[0], gene[2]))
        return _by_node(cell, [*groups.values()])
    return tuple(_gene(cell, gene) for gene in genes)


def _by_node(cell: CellSpec, groups: Sequence[Sequence[Gene]]) -> tuple[Gene, ...]:
    if len(groups) != cell.num_nodes:
        raise GenotypeError(
            f"cell {cell.name!r} lists the genes of {len(groups)} nodes; expected "
            f"{cell.num_nodes}"
        )
    for node, group in zip(cell.nodes, groups, strict=True):
        if len(group) != cell.num_selected(node):
            raise GenotypeError(
                f"cell {cell.name!r}: node {node} has {len(group)} genes; expected "
                f"{cell.num_selected(node)}"
            )
    return tuple(gene for group in groups for gene in group)


def _gene(cell: CellSpec, value: Any) -> Gene:
    kinds = [type(part) for part in value] if _is_list(value) else []
    if kinds in ([str, int], [str, int, float]):
        return value[0], value[1]
    raise _no_gene(cell, value)


def _names_node(gene: Any) -> bool:
    """Whether this is (operation, node, source state)."""
    return _is_list(gene) and [type(part) for part in gene] == [str, int, int]


def _no_gene(cell: CellSpec, value: object) -> GenotypeError:
    return GenotypeError(
        f"genes of {cell.name!r} are (operation, source state) pairs, with or without "
        "a weight (a float) behind, or (operation, node, source state); got "
        f"{short(value)}"
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _without_connections(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in fields.items()
        if value is not None or name not in _CONNECTIONS
    }


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


def _expected_group(cell: CellSpec, node: int) -> str:
    sources = (cell.edges[edge][0] for edge in cell.incoming(node))
    return "".join(f"|operation~{source}" for source in sources) + "|"
