"""What can be built: search spaces, masks and genotypes. NumPy only."""

from collections.abc import Callable

from nas_jax.errors import MaskError
from nas_jax.spaces.darts import DARTS_OPS, darts_space
from nas_jax.spaces.discretisation import discretise
from nas_jax.spaces.genotype import CellGenotype, Genotype
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS, nasbench201_space
from nas_jax.spaces.notation import Gene
from nas_jax.spaces.robust_darts import ROBUST_DARTS, robust_darts
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace

SPACES: dict[str, Callable[[], SearchSpace]] = {
    "darts": darts_space,
    "nasbench201": nasbench201_space,
}
"""Constructors of the search spaces, as published, by name."""


def get_space(name: str, num_nodes: int = 4) -> SearchSpace:
    """The search space of that name.

    Args:
        name: A key of SPACES.
        num_nodes: Computed nodes of each cell of DARTS; 4 for every other space.

    Raises:
        MaskError: If there is none, which lists the names, or if the number of nodes
            cannot be chosen.
    """
    if name not in SPACES:
        raise MaskError(f"unknown search space {name!r}; allowed: {', '.join(SPACES)}")
    if name == "darts":
        return darts_space(num_nodes)
    _check_num_nodes(name, num_nodes)
    return SPACES[name]()


def get_mask(name: str, num_nodes: int = 4) -> SpaceMask:
    """What a search of that name starts from: a whole space, or a published part.

    Args:
        name: A key of SPACES or one of ROBUST_DARTS.
        num_nodes: As for `get_space`.

    Raises:
        MaskError: As `get_space` does.
    """
    if name in ROBUST_DARTS:
        _check_num_nodes(name, num_nodes)
        return robust_darts(name)
    if name not in SPACES:
        allowed = ", ".join([*SPACES, *ROBUST_DARTS])
        raise MaskError(f"unknown search space {name!r}; allowed: {allowed}")
    return SpaceMask.full(get_space(name, num_nodes))


def _check_num_nodes(name: str, num_nodes: int) -> None:
    if num_nodes != 4:
        raise MaskError(
            f"num_nodes is {num_nodes}, but the cells of search space {name!r} are "
            "fixed; leave num_nodes at 4, or choose the space 'darts'"
        )


__all__ = [
    "DARTS_OPS",
    "NASBENCH201_OPS",
    "NONE",
    "ROBUST_DARTS",
    "SPACES",
    "CellGenotype",
    "CellSpec",
    "Gene",
    "Genotype",
    "SearchSpace",
    "SpaceMask",
    "darts_space",
    "discretise",
    "get_mask",
    "get_space",
    "nasbench201_space",
    "robust_darts",
]
