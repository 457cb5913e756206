"""The DARTS cell space (Liu et al. 2019, arXiv 1806.09055, section 3.2)."""

from __future__ import annotations

from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.registry import register_space
from nas_jax.spaces.space import CellSpec, SearchSpace

DARTS_OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Candidate operations in the order of DARTS' `PRIMITIVES`."""


def _cell(name: str, num_nodes: int, ops: tuple[str, ...]) -> CellSpec:
    edges = tuple((s, t) for t in range(2, 2 + num_nodes) for s in range(t))
    return CellSpec(name, 2, num_nodes, edges, ops, edges_per_node=2)


def darts_space(num_nodes: int = 4, ops: tuple[str, ...] = DARTS_OPS) -> SearchSpace:
    """A normal and a reduction cell with two inputs; 14 edges of 8 operations each."""
    name = "darts"
    if (num_nodes, ops) != (4, DARTS_OPS):
        name = f"darts[{num_nodes} nodes: {', '.join(ops)}]"
    return SearchSpace(
        name, (_cell("normal", num_nodes, ops), _cell("reduce", num_nodes, ops))
    )


register_space(
    "darts",
    lambda num_nodes: SpaceMask.full(darts_space(num_nodes)),
    title="two cells, 14 edges of 8 operations each",
    reference="Liu et al. 2019, arXiv 1806.09055",
    chooses_nodes=True,
)
