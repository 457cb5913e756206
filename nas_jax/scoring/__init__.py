"""Scores of architectures by the thousand, in programs that are compiled once."""

from nas_jax.scoring.sampling import sample_genotypes
from nas_jax.scoring.scored import ScoredArchitectures, scored_network
from nas_jax.scoring.scorer import Scorer, compile_all, widest

__all__ = [
    "ScoredArchitectures",
    "Scorer",
    "compile_all",
    "sample_genotypes",
    "scored_network",
    "widest",
]
