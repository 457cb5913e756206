"""One-shot search: bilevel optimisation of weights and alphas on a masked supernet.

algorithm.py       the bilevel step, and the parts that it is composed of
relaxation.py      how alphas become the weights of a mixed operation
hypergradient.py   how alphas see the weights: first order, second order
objective.py       losses and gradients, part of a batch by part
darts.py           an algorithm: parts put together under a published name
registry.py        algorithms by name
search.py          the loop
decision.py        whether a search decided
"""

from nas_jax.oneshot.algorithm import OneShotAlgorithm, OneShotSearch, SearchState
from nas_jax.oneshot.darts import darts, darts_second_order
from nas_jax.oneshot.decision import Decision, decision
from nas_jax.oneshot.hypergradient import exact, finite_difference, first_order
from nas_jax.oneshot.objective import Objective
from nas_jax.oneshot.registry import ALGORITHMS, get_algorithm, register_algorithm
from nas_jax.oneshot.relaxation import Relaxation, deterministic, softmax
from nas_jax.oneshot.search import SearchResult, abstract_state, lower_step, search

__all__ = [
    "ALGORITHMS",
    "Decision",
    "Objective",
    "OneShotAlgorithm",
    "OneShotSearch",
    "Relaxation",
    "SearchResult",
    "SearchState",
    "abstract_state",
    "darts",
    "darts_second_order",
    "decision",
    "deterministic",
    "exact",
    "finite_difference",
    "first_order",
    "get_algorithm",
    "lower_step",
    "register_algorithm",
    "search",
    "softmax",
]
