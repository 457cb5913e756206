"""How genotypes are written: DARTS' notation, architecture strings and JSON.

Here text becomes plain values; `Genotype` checks that they fit its space.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from nas_jax.errors import GenotypeError
from nas_jax.spaces.space import CellSpec, SearchSpace

Gene = tuple[str, int]
"""An operation and the state that it reads."""


def has_architecture_strings(space: SearchSpace) -> bool:
    """Whether genotypes are written as NAS-Bench-201's architecture strings."""
    return len(space.cells) == 1 and space.cells[0].keeps_all_edges


def architecture_string(cell: CellSpec, genes: Sequence[Gene]) -> str:
    """NAS-Bench-201's notation: `|op~0|+|op~0|op~1|+...`, one group for each node.

    Args:
        cell: A cell that keeps all its edges.
        genes: One for each edge, in the order of the edges.
    """
    groups: dict[int, str] = dict.fromkeys(cell.nodes, "|")
    for node, (op, source) in zip(cell.gene_nodes, genes, strict=True):
        groups[node] += f"{op}~{source}|"
    return "+".join(groups.values())


def architecture_genes(cell: CellSpec, text: str) -> tuple[Gene, ...]:
    """The genes of an architecture string; the inverse of `architecture_string`.

    Raises:
        GenotypeError: On any text that `architecture_string` does not write. It names
            the part and what is allowed there.
    """
    groups = text.split("+")
    if len(groups) != cell.num_nodes:
        raise GenotypeError(
            f"not an architecture of cell {cell.name!r}: {_short(text)} has "
            f"{len(groups)} groups; expected {cell.num_nodes}, one for each node: "
            f"{_expected(cell)}"
        )
    genes: list[Gene] = []
    for node, group in zip(cell.nodes, groups, strict=True):
        sources = [cell.edges[edge][0] for edge in cell.incoming(node)]
        parts = group[1:-1].split("|")
        if group != f"|{'|'.join(parts)}|" or len(parts) != len(sources):
            raise GenotypeError(
                f"node {node} of cell {cell.name!r} is {_short(group)}; expected "
                f"{_expected_group(cell, node)}"
            )
        for part, source in zip(parts, sources, strict=True):
            op, _, state = part.partition("~")
            if op not in cell.selectable or state != str(source):
                raise GenotypeError(
                    f"node {node} of cell {cell.name!r} has {_short(part)}; expected "
                    f"an operation and '~{source}', the state that it reads; "
                    f"operations: {', '.join(cell.selectable)}"
                )
            genes.append((op, source))
    return tuple(genes)


def json_fields(space: SearchSpace, text: str) -> dict[str, Any]:
    """The fields of a genotype's JSON, or of a whole `genotype.json`.

    Raises:
        GenotypeError: If it is not JSON, or of another space.
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
        return dict(data["genotype"])
    return dict(data)


def call_fields(text: str) -> dict[str, Any]:
    """The fields of DARTS' notation, `Genotype(normal=[...], normal_concat=...)`.

    Raises:
        GenotypeError: If it is anything but such a call with literals.
    """
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


def _expected(cell: CellSpec) -> str:
    return "+".join(_expected_group(cell, node) for node in cell.nodes)


def _expected_group(cell: CellSpec, node: int) -> str:
    sources = (cell.edges[edge][0] for edge in cell.incoming(node))
    return "".join(f"|operation~{source}" for source in sources) + "|"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
