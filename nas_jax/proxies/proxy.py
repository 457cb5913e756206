"""What a proxy is, what it looks at, and the registry of all proxies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError

Params = Any
NormMode = Literal["batch", "identity"]
ReluInputs = list[tuple[jax.Array, jax.Array]]


class Logits(Protocol):
    """Logits `[B, classes]` of images `[B, H, W, C]` for given parameters."""

    def __call__(
        self, params: Params, images: jax.Array, *, norm: NormMode
    ) -> jax.Array:
        """Runs the network; `norm` says what batch normalisation does."""
        ...


@dataclasses.dataclass(frozen=True)
class ScoredNetwork:
    """A network as a proxy sees it: any apply function and its parameters.

    Attributes:
        logits: The apply function.
        params: Its parameters.
        live: A tree like `params`; each entry is 1 where the layer takes part and 0
            where it does not, with one axis for each leading axis of the parameter
            that stacks independent layers (none for an ordinary parameter).
        relu_inputs: What every ReLU receives: pairs of inputs `[K, B, ...]` of K
            stacked ReLUs and counts `[K]` of how many ReLUs see them. None where the
            network cannot tell; proxies that need it then refuse.
    """

    logits: Logits
    params: Params
    live: Params
    relu_inputs: Callable[[Params, jax.Array], ReluInputs] | None = None
    _shared: dict[tuple[str, int], Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def shared(self, name: str, batch: Batch, compute: Callable[[], Any]) -> Any:
        """An intermediate that several proxies need, computed by the first of them.

        A network object lives for one trace, so what is kept here does too.
        """
        key = (name, id(batch))
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    @classmethod
    def plain(cls, logits: Logits, params: Params) -> ScoredNetwork:
        """A network whose every parameter is one layer that takes part."""
        return cls(logits, params, jax.tree.map(lambda _: jnp.ones(()), params))


class Batch(NamedTuple):
    """Images `[B, H, W, C]` float and integer labels `[B]`."""

    images: jax.Array
    labels: jax.Array


ProxyFn = Callable[[ScoredNetwork, Batch], jax.Array]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A training-free score.

    Attributes:
        name: Its name in the registry.
        score: Pure function of a network and a batch; returns a float scalar.
        higher_is_better: The direction in which the score is meant to be read.
        needs_labels: Whether the labels are used.
        needs_gradient: Whether it differentiates the network.
        norm: What batch normalisation does while scoring.
        input_kind: "data", "ones" or "none": what the network is fed.
        reference: Paper and equation.
    """

    name: str
    score: ProxyFn
    higher_is_better: bool
    needs_labels: bool
    needs_gradient: bool
    norm: NormMode
    input_kind: Literal["data", "ones", "none"]
    reference: str


_REGISTRY: dict[str, Proxy] = {}


def register_proxy(proxy: Proxy) -> Proxy:
    """Add a proxy to the registry.

    Raises:
        ValueError: If the name is taken.
    """
    if proxy.name in _REGISTRY:
        raise ValueError(f"proxy {proxy.name!r} is registered already")
    _REGISTRY[proxy.name] = proxy
    return proxy


def get_proxy(name: str) -> Proxy:
    """The proxy of that name.

    Raises:
        ConfigError: If there is none; lists the names.
    """
    if name not in _REGISTRY:
        raise ConfigError(
            f"unknown proxy {name!r}; allowed: {', '.join(list_proxies())}"
        )
    return _REGISTRY[name]


def list_proxies() -> list[str]:
    """Names of all proxies, sorted."""
    return sorted(_REGISTRY)
