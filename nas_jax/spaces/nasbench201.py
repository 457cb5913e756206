"""The NAS-Bench-201 cell space (Dong and Yang 2020, arXiv 2001.00326, section 2.1).

An architecture is the operations of its 6 edges, in the order of the edges; what is no
such thing is a GenotypeError everywhere. NATS-Bench calls the same space its topology
search space.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence

import numpy as np

from nas_jax.errors import GenotypeError
from nas_jax.spaces.genotype import CellGenotype, Genotype
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.registry import register_space
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace

NASBENCH201_OPS = (
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
)
"""Candidate operations in the order of the official `NAS_BENCH_201`."""

Operations = tuple[str, ...]
"""The operations of the 6 edges: 0 to 1, 0 to 2, 1 to 2, 0 to 3, 1 to 3, 2 to 3."""

_EDGES = tuple((s, t) for t in range(1, 4) for s in range(t))
_CELL = CellSpec("cell", 1, 3, _EDGES, NASBENCH201_OPS, edges_per_node=None)
_SPACE = SearchSpace("nasbench201", (_CELL,), family="nasbench201")


def nasbench201_space() -> SearchSpace:
    """One cell of an input and 3 nodes, with 5 operations on each of 6 edges."""
    return _SPACE


def genotype_of(operations: Sequence[str]) -> Genotype:
    """The genotype of an architecture; `str` of it is its architecture string."""
    _check(operations)
    genes = tuple((op, s) for op, (s, _) in zip(operations, _EDGES, strict=True))
    return Genotype(_SPACE, (CellGenotype(_CELL.name, genes, _CELL.output),))


def operations_of(genotype: Genotype) -> Operations:
    """The operations of a genotype's edges; the inverse of `genotype_of`."""
    if genotype.space != _SPACE:
        raise GenotypeError(
            f"a genotype of {genotype.space.name!r} is no architecture of "
            f"{_SPACE.name!r}"
        )
    return tuple(op for op, _ in genotype.cells[0].genes)


@functools.cache
def official_order() -> tuple[Operations, ...]:
    """All architectures by their index in NAS-Bench-201 and NATS-Bench.

    The product of the operations, shuffled by Python's generator with the seed 88
    (AutoDL-Projects, exps/NATS-Bench/tss-collect.py, `traverse_net`).
    """
    order = list(itertools.product(NASBENCH201_OPS, repeat=len(_EDGES)))
    random.Random(88).shuffle(order)
    return tuple(order)


@functools.cache
def _indices() -> dict[Operations, int]:
    return {operations: index for index, operations in enumerate(official_order())}


def architecture_index(operations: Sequence[str]) -> int:
    """The official index of an architecture, its place in `official_order`."""
    _check(operations)
    return _indices()[tuple(operations)]


def reachable(operations: Sequence[str]) -> np.ndarray:
    """Which edges carry signal from the cell's input to its output.

    An edge does where its operation is not `none`, operations other than `none` lead
    from the input to its source, and others lead from its target to the output.
    Returns booleans `[6]`.
    """
    _check(operations)
    # Ordered by target, so every path meets its edges in this order.
    edges = [e for e, op in zip(_EDGES, operations, strict=True) if op != NONE]
    fed = {0}
    for source, target in edges:
        if source in fed:
            fed.add(target)
    used = set(_CELL.output)
    for source, target in reversed(edges):
        if target in used:
            used.add(source)
    return np.array([e in edges and e[0] in fed and e[1] in used for e in _EDGES])


def check_connected(genotype: Genotype) -> None:
    """Raises GenotypeError where the output does not depend on the image."""
    if not reachable(operations_of(genotype)).any():
        raise GenotypeError(
            f"architecture {genotype} cannot be trained: no path without {NONE!r} "
            "leads from the input of the cell to its output; give another --genotype, "
            f"or search again with a mask that drops {NONE!r} or with other settings"
        )


def canonical(operations: Sequence[str], none_is_zero: bool = True) -> str:
    """An expression that isomorphic architectures share (Dong and Yang 2020).

    A node is the sum of its terms in alphabetical order. A term is the source's
    expression for a skip connection, `#` for zero, else `(source)@operation`; the input
    is `0`. This is the official `Structure.to_unique_str` (AutoDL-Projects) to the
    letter, for the letters decide: a sum within a sum keeps its order and zeros stay
    in theirs, so some architectures that compute the same have different expressions.
    Where operations map zero to zero, there are 4,930 different functions.

    Where `none_is_zero`, it and any operation on zero are zero: 6,466 expressions. Else
    `none` is a function like the others: 12,751.
    """
    _check(operations)
    states = {0: "0"}
    for node in _CELL.nodes:
        terms = (
            _term(operations[edge], states[_EDGES[edge][0]], none_is_zero)
            for edge in _CELL.incoming(node)
        )
        states[node] = "+".join(sorted(terms))
    return states[_CELL.nodes[-1]]


def _term(op: str, state: str, none_is_zero: bool) -> str:
    if none_is_zero and (op == NONE or state == "#"):
        return "#"
    return state if op == "skip_connect" else f"({state})@{op}"


def _check(operations: Sequence[str]) -> None:
    if len(operations) != len(_EDGES) or not set(operations) <= set(NASBENCH201_OPS):
        raise GenotypeError(
            f"an architecture is the operations of {len(_EDGES)} edges, each one of "
            f"{', '.join(NASBENCH201_OPS)}; got {operations!r}"
        )


register_space(
    "nasbench201",
    lambda: SpaceMask.full(nasbench201_space()),
    title="one cell, 6 edges of 5 operations each; 15,625 architectures",
    reference="Dong and Yang 2020, arXiv 2001.00326",
    published=True,
)
