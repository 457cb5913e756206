"""What can be built: search spaces, masks and genotypes. NumPy only.

A space is one file, which ends with its `register_space`.
"""

from nas_jax.spaces.darts import DARTS_OPS, darts_space
from nas_jax.spaces.discretisation import discretise
from nas_jax.spaces.genotype import CellGenotype, Genotype
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS, nasbench201_space
from nas_jax.spaces.notation import Gene
from nas_jax.spaces.registry import (
    SPACES,
    RegisteredSpace,
    get_mask,
    get_space,
    register_space,
)
from nas_jax.spaces.robust_darts import ROBUST_DARTS, robust_darts
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace

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
    "RegisteredSpace",
    "SearchSpace",
    "SpaceMask",
    "darts_space",
    "discretise",
    "get_mask",
    "get_space",
    "nasbench201_space",
    "register_space",
    "robust_darts",
]
