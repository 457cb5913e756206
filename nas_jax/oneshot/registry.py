"""The one-shot algorithms by name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nas_jax.errors import ConfigError

if TYPE_CHECKING:
    from nas_jax.networks import AnySupernet
    from nas_jax.oneshot.algorithm import OneShotAlgorithm

OPTIONS = (
    "total_steps",
    "steps_per_epoch",
    "weight_learning_rate",
    "weight_learning_rate_min",
    "weight_momentum",
    "weight_decay",
    "gradient_clip",
    "alpha_learning_rate",
    "alpha_betas",
    "alpha_weight_decay",
    "microbatches",
)
"""What an algorithm may be told: the steps of the search, and fields of a config's
`search`."""


@dataclasses.dataclass(frozen=True)
class RegisteredAlgorithm:
    """An algorithm that a config can name; see `register_algorithm`."""

    name: str
    make: Callable[..., OneShotAlgorithm]
    title: str
    reference: str

    @property
    def uses(self) -> tuple[str, ...]:
        """The names of OPTIONS that `make` takes."""
        parameters = inspect.signature(self.make).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return OPTIONS
        return tuple(name for name in OPTIONS if name in parameters)

    def compose(
        self, network: AnySupernet, options: Mapping[str, Any]
    ) -> OneShotAlgorithm:
        """The algorithm on a supernet, told those of the options that it takes."""
        return self.make(network, **{name: options[name] for name in self.uses})


_ALGORITHMS: dict[str, RegisteredAlgorithm] = {}
ALGORITHMS: Mapping[str, RegisteredAlgorithm] = MappingProxyType(_ALGORITHMS)
"""The algorithms by name; `register_algorithm` adds one."""


def register_algorithm(
    name: str,
    make: Callable[..., OneShotAlgorithm],
    *,
    title: str,
    reference: str = "",
) -> None:
    """Makes an algorithm a value of `--config.search.algorithm`.

    Args:
        name: What a config calls it.
        make: `make(network, **options) -> algorithm`. Its parameters say which of
            OPTIONS it takes; others need a default of their own.
        title: What it is, in a few words.
        reference: Who published it.

    Raises:
        ConfigError: The name is taken, or `make` needs what no config has.
    """
    if name in _ALGORITHMS:
        raise ConfigError(
            f"an algorithm {name!r} is registered already; choose another name"
        )
    _, *options = inspect.signature(make).parameters.values()
    unknown = [
        p.name
        for p in options
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.name not in OPTIONS
    ]
    if unknown:
        raise ConfigError(
            f"algorithm {name!r} cannot be told {', '.join(unknown)}: give a default, "
            f"or take some of {', '.join(OPTIONS)}"
        )
    _ALGORITHMS[name] = RegisteredAlgorithm(name, make, title, reference)


def get_algorithm(name: str) -> RegisteredAlgorithm:
    """The algorithm of that name.

    Raises:
        ConfigError: There is none; lists the names.
    """
    if name not in _ALGORITHMS:
        raise ConfigError(
            f"unknown algorithm {name!r}; allowed: {', '.join(_ALGORITHMS)} (one of "
            "your own is known once --plugin=FILE registers it)"
        )
    return _ALGORITHMS[name]
