"""What a proxy is, and the registry of all proxies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax

from nas_jax.errors import ConfigError
from nas_jax.proxies.network import Batch, NormMode, Observed, ScoredNetwork

ProxyFn = Callable[[ScoredNetwork, Batch, jax.Array], jax.Array]
Facts = dict[str, Any]
"""What several proxies have in common, by the field of `Proxy`."""
InputKind = Literal["data", "ones", "noise", "none"]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A training-free score.

    Attributes:
        name: Its name in the registry.
        score: Pure function of a network, a batch and a typed PRNG key (read only by
            proxies that draw something); returns a float scalar. NaN or infinite where
            it fails, see `failures`.
        title: Its name in running text.
        cost: What is run for a score, in words.
        reference: Paper and equation.
        higher_is_better: The direction in which its source reads the score.
        needs_labels: Whether the labels are used.
        needs_gradient: Whether it differentiates the network.
        norm: What batch normalisation does while scoring.
        input_kind: What the network is fed: the images, ones, noise of their shape,
            or nothing.
        needs: Fields of `Observed`, or `macs` or `operations`, that the network must
            be able to tell: its function raises ConfigError where it cannot.
        intermediate: Name of what it computes first and shares with the other proxies
            of that name; empty for one that only counts. Proxies with one intermediate
            are compiled into one program.
        float64: Whether its numbers leave the range of float32 on networks of usual
            size, so that it wants a program with 64-bit numbers enabled.
        compares_images: Whether it reads a kernel between the images of a batch. Two
            equal images make that singular, whatever the network.
    """

    name: str
    score: ProxyFn
    title: str = ""
    cost: str = ""
    reference: str = ""
    higher_is_better: bool = True
    needs_labels: bool = False
    needs_gradient: bool = False
    norm: NormMode = "batch"
    input_kind: InputKind = "data"
    needs: tuple[str, ...] = ()
    intermediate: str = ""
    float64: bool = False
    compares_images: bool = False

    @property
    def meaning(self) -> str:
        """What the score is: the first line that its function says of itself."""
        return (self.score.__doc__ or "").strip().partition("\n")[0].rstrip(".")


TOLD = (*Observed._fields, "macs", "operations")
"""What networks can tell, see `Observed` and `ScoredNetwork`."""

_REGISTRY: dict[str, Proxy] = {}


def register_proxy(proxy: Proxy) -> Proxy:
    """Adds a proxy to the registry, and returns it.

    Raises:
        ConfigError: If it is no `Proxy`, its name is empty or taken, or it needs what
            no network tells.
    """
    if not isinstance(proxy, Proxy):
        raise ConfigError(
            f"{proxy!r} is no Proxy; register Proxy(name, function, ...), whose "
            "function takes a network, a batch and a key"
        )
    if not proxy.name or proxy.name in _REGISTRY:
        why = "is registered already" if proxy.name else "is no name"
        raise ConfigError(f"proxy {proxy.name!r} {why}; give it another one")
    if unknown := sorted({*proxy.needs} - {*TOLD}):
        raise ConfigError(
            f"proxy {proxy.name!r} needs {unknown[0]!r}, which no network tells; "
            f"allowed: {', '.join(TOLD)}"
        )
    _REGISTRY[proxy.name] = proxy
    return proxy


def registered(**facts: Any) -> Callable[[ProxyFn], ProxyFn]:
    """Registers the function below it by its own name; for facts see `Proxy`."""

    def register(score: ProxyFn) -> ProxyFn:
        register_proxy(Proxy(score.__name__, score, **facts))
        return score

    return register


def get_proxy(name: str | Proxy) -> Proxy:
    """The proxy of that name; a proxy, registered or not, is itself.

    Raises:
        ConfigError: If there is none; lists the names.
    """
    if isinstance(name, Proxy):
        return name
    if name not in _REGISTRY:
        raise ConfigError(
            f"unknown proxy {name!r}; allowed: {', '.join(list_proxies())}"
        )
    return _REGISTRY[name]


def list_proxies() -> list[str]:
    """Names of all proxies, sorted."""
    return sorted(_REGISTRY)


def require(proxy: str, field: str, value: T | None) -> T:
    """The value of a field that a proxy cannot do without, or a ConfigError."""
    if value is None:
        where = "a" if field in ("macs", "operations") else "an observe function with"
        others = [p.name for p in _REGISTRY.values() if field not in p.needs]
        raise ConfigError(
            f"{proxy} needs {field!r}, which this network does not tell; give "
            f"ScoredNetwork {where} {field}, or choose a proxy that does without: "
            f"{', '.join(sorted(others))}"
        )
    return value
