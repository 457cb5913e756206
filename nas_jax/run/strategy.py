"""The pruning that a configuration asks for, checked before anything is written."""

from __future__ import annotations

import dataclasses

from nas_jax import pruning
from nas_jax.config import PruneConfig
from nas_jax.errors import ConfigError
from nas_jax.memory import find_target, parse_bytes, require_compiler
from nas_jax.spaces import SearchSpace


def get_strategy(config: PruneConfig, space: SearchSpace) -> pruning.Strategy:
    """The strategy of a configuration.

    Raises:
        ConfigError: An unknown proxy, or an option that the strategy does not have.
    """
    fields = dataclasses.asdict(config)
    known = {o.name for s in pruning.STRATEGIES.values() for o in s.options}
    options = {name: value for name, value in fields.items() if name in known}
    return pruning.get_strategy(config.strategy, space, options)


def check_budget(config: PruneConfig) -> None:
    """Refuses a budget that is no number of bytes or that nothing can measure.

    Raises:
        ConfigError: Names the value and what is allowed; or the compiler that is not
            installed, and how to get it.
    """
    if not config.budget:
        return
    parse_bytes(config.budget)
    if config.keep:
        raise ConfigError(
            f"prune.budget is {config.budget!r} and prune.keep is {config.keep}: only "
            "one of them can say how much is pruned; leave the other out"
        )
    require_compiler(find_target(config.budget_target))
