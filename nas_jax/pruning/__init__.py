"""Zero-shot pruning: which operations a search need not look at.

`get_strategy` makes one of the field's strategies for a space, and `prune` runs it:

    strategy.py             rounds of candidates, and what their scores mean
    zero_one_shot.py        the paper's own, edge by edge, sampled, and the control
    te_nas.py               the two that score thin networks
    candidates.py           what is scored, as live arrays of one network
    rankers.py              how: compiled once, chunk by chunk
    importance.py           the formulas
    selection.py            what goes: level, operations an edge, or bytes
    prune.py, result.py     the loop, and the reasons
"""

from nas_jax.pruning.candidate_networks import SupernetSize, ThinNetwork, usual_size
from nas_jax.pruning.candidates import leave_one_out
from nas_jax.pruning.importance import (
    Importance,
    marginal_ranks,
    relative_importance,
    sum_of_changes,
    sum_of_ranks,
)
from nas_jax.pruning.prune import Journal, prune
from nas_jax.pruning.rankers import Ranker, RankerScores
from nas_jax.pruning.registry import STRATEGIES, Options, get_strategy
from nas_jax.pruning.result import PruneResult, ScoredOperation
from nas_jax.pruning.scored_supernet import scored_supernet
from nas_jax.pruning.selection import Target, operations_to_keep
from nas_jax.pruning.strategy import Strategy
from nas_jax.pruning.te_nas import ete_nas, te_nas
from nas_jax.pruning.zero_one_shot import (
    DEFAULT_PROXIES,
    random_control,
    sampled,
    zero_cost_pt,
    zero_one_shot,
)

__all__ = [
    "DEFAULT_PROXIES",
    "STRATEGIES",
    "Importance",
    "Journal",
    "Options",
    "PruneResult",
    "Ranker",
    "RankerScores",
    "ScoredOperation",
    "Strategy",
    "SupernetSize",
    "Target",
    "ThinNetwork",
    "ete_nas",
    "get_strategy",
    "leave_one_out",
    "marginal_ranks",
    "operations_to_keep",
    "prune",
    "random_control",
    "relative_importance",
    "sampled",
    "scored_supernet",
    "sum_of_changes",
    "sum_of_ranks",
    "te_nas",
    "usual_size",
    "zero_cost_pt",
    "zero_one_shot",
]
