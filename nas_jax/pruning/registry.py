"""The pruning strategies by name, with what their sources leave to a user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nas_jax.errors import ConfigError
from nas_jax.proxies import get_proxy
from nas_jax.pruning.candidate_networks import usual_size
from nas_jax.pruning.strategy import Strategy
from nas_jax.pruning.te_nas import ete_nas, te_nas
from nas_jax.pruning.zero_one_shot import (
    random_control,
    sampled,
    zero_cost_pt,
    zero_one_shot,
)
from nas_jax.spaces import SearchSpace


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose; 0 and empty are the strategy's own.

    Attributes:
        proxies: Names of the scores that rank.
        channels: Channels of the scored network.
        layers: Its cells; cells of each stage for NAS-Bench-201.
        batch_size: Images in a batch.
        repeats: Weights and batches that an importance is averaged over.
        rounds: Outer iterations of `zero_one_shot`.
        samples: Architectures of `sampled`.
        defects: Whether `ete_nas` scores operations as its public code.
    """

    proxies: tuple[str, ...] = ()
    channels: int = 0
    layers: int = 0
    batch_size: int = 0
    repeats: int = 0
    rounds: int = 0
    samples: int = 0
    defects: bool = False

    def given(self, *names: str) -> dict[str, Any]:
        """The named options that are not the strategy's own."""
        return {name: value for name in names if (value := getattr(self, name))}


def get_strategy(
    name: str, space: SearchSpace, options: Options | None = None
) -> Strategy:
    """A pruning strategy.

    What a strategy scores is its own where an option is 0 or empty; `random` scores
    nothing and reads none of them.

    Args:
        name: A key of STRATEGIES.
        space: The search space.
        options: What to change.

    Raises:
        ConfigError: On an unknown name, lists the names; on an unknown proxy; on
            rounds, samples, defects or proxies of a strategy that has none; on
            what `te_nas` and `ete_nas` refuse.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"unknown pruning strategy {name!r}; allowed: {', '.join(STRATEGIES)}"
        )
    options = options or Options()
    allowed, make = STRATEGIES[name]
    for field in ("rounds", "samples", "defects", "proxies"):
        if getattr(options, field) and field not in allowed:
            others = [n for n, (fields, _) in STRATEGIES.items() if field in fields]
            raise ConfigError(
                f"pruning strategy {name!r} has no {field} "
                f"({getattr(options, field)!r} given); leave it out, or take "
                f"{' or '.join(others)}"
            )
    for proxy in options.proxies:
        get_proxy(proxy)
    return make(space, options)


def _zero_one_shot(space: SearchSpace, options: Options) -> Strategy:
    return zero_one_shot(
        usual_size(space, options.channels, options.layers),
        **options.given("proxies", "batch_size", "repeats", "rounds"),
    )


def _te_nas(space: SearchSpace, options: Options) -> Strategy:
    return te_nas(space, **options.given("channels", "layers", "batch_size", "repeats"))


def _ete_nas(space: SearchSpace, options: Options) -> Strategy:
    names = ("proxies", "channels", "layers", "batch_size", "repeats", "defects")
    return ete_nas(space, **options.given(*names))


def _zero_cost_pt(space: SearchSpace, options: Options) -> Strategy:
    size = usual_size(space, options.channels, options.layers)
    return zero_cost_pt(size, **options.given("batch_size", "repeats"))


def _sampled(space: SearchSpace, options: Options) -> Strategy:
    return sampled(
        usual_size(space, options.channels, options.layers),
        **options.given("proxies", "samples", "batch_size", "repeats"),
    )


def _random(space: SearchSpace, options: Options) -> Strategy:
    del space, options
    return random_control()


STRATEGIES: dict[
    str, tuple[tuple[str, ...], Callable[[SearchSpace, Options], Strategy]]
] = {
    "zero_one_shot": (("proxies", "rounds"), _zero_one_shot),
    "te_nas": ((), _te_nas),
    "ete_nas": (("proxies", "defects"), _ete_nas),
    "zero_cost_pt": ((), _zero_cost_pt),
    "sampled": (("proxies", "samples"), _sampled),
    "random": ((), _random),
}
"""Strategies by name, with the options that only some have."""
