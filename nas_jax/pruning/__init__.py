"""Zero-shot pruning: which operations a search need not look at.

`get_strategy` makes one of the field's strategies for a space, and `prune` runs it:

    strategy.py             what a strategy is, and the registry
    strategies/             one file each: the paper's own, edge by edge, the control
    budget.py               what a search step needs, to prune to a budget of memory
    candidates.py           what is scored, as live arrays of one network
    rankers.py              how: compiled once, chunk by chunk
    importance.py           the formulas
    selection.py            what goes: level, operations an edge, or bytes
    loop.py, result.py      the loop, and the reasons
"""

from nas_jax.pruning.budget import step_bytes
from nas_jax.pruning.candidates import leave_one_out
from nas_jax.pruning.importance import (
    Importance,
    marginal_ranks,
    relative_importance,
    sum_of_changes,
    sum_of_ranks,
)
from nas_jax.pruning.loop import Journal, prune
from nas_jax.pruning.rankers import Ranker, RankerScores, SupernetSize, usual_size
from nas_jax.pruning.result import PruneResult, ScoredOperation
from nas_jax.pruning.selection import Target, operations_to_keep
from nas_jax.pruning.strategies import (
    DEFAULT_PROXIES,
    LeaveOneOut,
    random_control,
    sampled,
    zero_cost_pt,
    zero_one_shot,
)
from nas_jax.pruning.strategy import (
    STRATEGIES,
    Option,
    Score,
    Strategy,
    StrategyEntry,
    equal_rounds,
    get_strategy,
    register_strategy,
    rounds_of_step,
    scoring_options,
)

__all__ = [
    "DEFAULT_PROXIES",
    "STRATEGIES",
    "Importance",
    "Journal",
    "LeaveOneOut",
    "Option",
    "PruneResult",
    "Ranker",
    "RankerScores",
    "Score",
    "ScoredOperation",
    "Strategy",
    "StrategyEntry",
    "SupernetSize",
    "Target",
    "equal_rounds",
    "get_strategy",
    "leave_one_out",
    "marginal_ranks",
    "operations_to_keep",
    "prune",
    "random_control",
    "register_strategy",
    "relative_importance",
    "rounds_of_step",
    "sampled",
    "scoring_options",
    "step_bytes",
    "sum_of_changes",
    "sum_of_ranks",
    "usual_size",
    "zero_cost_pt",
    "zero_one_shot",
]
