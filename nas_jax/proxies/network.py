"""A network as a proxy sees it, and what a network can tell of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp

from nas_jax.networks.observed import Gate, Observed
from nas_jax.proxies.macs import count_macs

__all__ = ["Batch", "Gate", "Logits", "Observe", "Observed", "ScoredNetwork"]

Params = Any
NormMode = Literal["batch", "identity"]
ImageShape = tuple[int, ...]
T = TypeVar("T")


class Batch(NamedTuple):
    """Images `[B, H, W, C]` float and integer labels `[B]`."""

    images: jax.Array
    labels: jax.Array


class Logits(Protocol):
    """Logits `[B, classes]` of images `[B, H, W, C]` for given parameters."""

    def __call__(
        self, params: Params, images: jax.Array, *, norm: NormMode
    ) -> jax.Array:
        """Runs the network; `norm` says what batch normalisation does."""
        ...


class Observe(Protocol):
    """What a network tells of images `[B, H, W, C]` for given parameters."""

    def __call__(
        self,
        params: Params,
        images: jax.Array,
        *,
        norm: NormMode,
        gates: list[jax.Array] | None = None,
    ) -> Observed:
        """Runs the network.

        Args:
            params: Its parameters.
            images: The batch.
            norm: What batch normalisation does.
            gates: One array `[K, B, C]` for each entry of `channels`, to multiply the
                outputs of its layers, biases included; None changes nothing. Only
                given to a network that tells its channels.
        """
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
        observe: Tells what happens on the way to the logits. None where the network
            cannot; proxies that need it then refuse.
        macs: Multiply-accumulates for one image of a shape `(H, W, C)`, a scalar.
        operations: How often each operation of a search space occurs, by its name.
        rows_at_once: Images whose own gradients are computed side by side, where a
            proxy needs them; more take more memory.
    """

    logits: Logits
    params: Params
    live: Params
    observe: Observe | None = None
    macs: Callable[[ImageShape], jax.Array] | None = None
    operations: Mapping[str, jax.Array] | None = None
    rows_at_once: int = 1
    _shared: dict[str, Any] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    def shared(self, name: str, batch: Batch, compute: Callable[[], T]) -> T:
        """An intermediate that several proxies need, computed by the first of them.

        Kept until another batch is asked for. A network object lives for one trace,
        so what is kept here does too.
        """
        if self._shared.get("batch") is not batch:
            self._shared.clear()
            self._shared["batch"] = batch
        if name not in self._shared:
            self._shared[name] = compute()
        value: T = self._shared[name]
        return value

    def tell(
        self,
        params: Params,
        images: jax.Array,
        gates: list[jax.Array] | None = None,
    ) -> Observed:
        """What the network tells of images, normalised by their own statistics.

        Nothing where it has no `observe`.
        """
        if self.observe is None:
            return Observed()
        if gates is None:
            return self.observe(params, images, norm="batch")
        return self.observe(params, images, norm="batch", gates=gates)

    def observed(self, batch: Batch) -> Observed:
        """What the network tells of a batch, shared by all who ask."""
        return self.shared(
            "observed", batch, lambda: self.tell(self.params, batch.images)
        )

    @classmethod
    def plain(
        cls, logits: Logits, params: Params, observe: Observe | None = None
    ) -> ScoredNetwork:
        """A network whose every parameter is one layer that takes part.

        Args:
            logits: Any apply function: plain Flax, Haiku or hand-written.
            params: Its parameters, a tree of arrays.
            observe: See `ScoredNetwork`; `Observed(features=...)` is enough for a
                proxy that needs features and no more.
        """
        live = jax.tree.map(lambda _: jnp.ones(()), params)
        macs = functools.partial(_macs, logits, params)
        return cls(logits, params, live, observe, macs)


def _macs(logits: Logits, params: Params, shape: ImageShape) -> jax.Array:
    dtype = jnp.result_type(float, *jax.tree.leaves(params))
    image = jax.ShapeDtypeStruct((1, *shape), dtype)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    return jnp.asarray(
        count_macs(functools.partial(logits, norm="batch"), shapes, image), float
    )
