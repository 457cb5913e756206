"""Scores of architectures by the thousand, in programs that are compiled once."""

from nas_jax.scoring.families import FAMILIES, Family, get_family
from nas_jax.scoring.sampling import sample_genotypes
from nas_jax.scoring.scorer import Scorer, compile_all, widest

__all__ = [
    "FAMILIES",
    "Family",
    "Scorer",
    "compile_all",
    "get_family",
    "sample_genotypes",
    "widest",
]
