"""What can be built: search spaces, masks and genotypes. NumPy only."""

from nas_jax.errors import MaskError
from nas_jax.spaces.darts import DARTS_OPS, darts_space
from nas_jax.spaces.genotype import CellGenotype, Gene, Genotype, discretise
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace

SPACES = {"darts": darts_space}
"""Constructors of the search spaces by name."""


def get_space(name: str, num_nodes: int = 4) -> SearchSpace:
    """The search space of that name.

    Args:
        name: A key of SPACES.
        num_nodes: Computed nodes of each cell.

    Raises:
        MaskError: If there is none; lists the names.
    """
    if name not in SPACES:
        raise MaskError(f"unknown search space {name!r}; allowed: {', '.join(SPACES)}")
    return SPACES[name](num_nodes)


__all__ = [
    "DARTS_OPS",
    "NONE",
    "SPACES",
    "CellGenotype",
    "CellSpec",
    "Gene",
    "Genotype",
    "SearchSpace",
    "SpaceMask",
    "darts_space",
    "discretise",
    "get_space",
]
