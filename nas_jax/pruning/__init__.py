"""Zero-shot pruning: which operations a search need not look at."""

from nas_jax.pruning.candidates import CandidateScorer, scored_supernet
from nas_jax.pruning.importance import leave_one_out, relative_importance
from nas_jax.pruning.zero_one_shot import (
    DEFAULT_PROXIES,
    PruneResult,
    ScoredOperation,
    operations_to_keep,
    prune,
)

__all__ = [
    "DEFAULT_PROXIES",
    "CandidateScorer",
    "PruneResult",
    "ScoredOperation",
    "leave_one_out",
    "operations_to_keep",
    "prune",
    "relative_importance",
    "scored_supernet",
]
