"""The strategies of this package: one file each, registered by being imported."""

from nas_jax.pruning.strategies.leave_one_out import LeaveOneOut
from nas_jax.pruning.strategies.random import random_control
from nas_jax.pruning.strategies.sampled import sampled
from nas_jax.pruning.strategies.zero_cost_pt import zero_cost_pt
from nas_jax.pruning.strategies.zero_one_shot import DEFAULT_PROXIES, zero_one_shot

__all__ = [
    "DEFAULT_PROXIES",
    "LeaveOneOut",
    "random_control",
    "sampled",
    "zero_cost_pt",
    "zero_one_shot",
]
