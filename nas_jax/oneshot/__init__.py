"""One-shot search: bilevel optimisation of weights and alphas on a masked supernet."""

from nas_jax.oneshot.decision import Decision, decision
from nas_jax.oneshot.first_order import FirstOrderDarts, OneShotAlgorithm, SearchState
from nas_jax.oneshot.search import (
    SearchResult,
    SearchStep,
    abstract_state,
    lower_step,
    search,
)

__all__ = [
    "Decision",
    "FirstOrderDarts",
    "OneShotAlgorithm",
    "SearchResult",
    "SearchState",
    "SearchStep",
    "abstract_state",
    "decision",
    "lower_step",
    "search",
]
