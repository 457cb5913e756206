"""A network as a proxy sees it, and what a network can tell of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from nas_jax.errors import ConfigError
from nas_jax.networks.record import Gate, Observed
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


Logits = Callable[..., jax.Array]
"""Logits `[B, classes]` of `(params, images, *, norm)`, images `[B, H, W, C]`; `norm`
says what batch normalisation does, "batch" or "identity"."""
Observe = Callable[..., Observed]
"""What a network tells of `(params, images, *, norm)`. One that tells its channels also
takes `gates`, one array `[K, B, C]` for each entry of `channels`, to multiply the
outputs of its layers, biases included; None changes nothing."""


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
        unbuilt: Parameters of the architecture that are not in `params`, a scalar:
            factors of normalisations that a network for scoring has no need of.
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
    unbuilt: jax.Array | float = 0.0
    # Not handed on by `dataclasses.replace`: a copy has other parameters.
    _shared: dict[str, Any] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuses a `live` that says nothing of the parameters.

        Raises:
            ConfigError: It is another tree, has other axes or, where its values are
                known, others than 0 and 1.
        """
        own: Any = jax.tree.structure(self.params)
        live: Any = jax.tree.structure(self.live)
        if own != live:
            raise ConfigError(
                f"live is the tree {live}, and params is {own}; give one entry for "
                "each parameter, or use ScoredNetwork.plain"
            )
        paths = jax.tree_util.tree_leaves_with_path(self.live)
        for (path, alive), array in zip(
            paths, jax.tree.leaves(self.params), strict=True
        ):
            name = jax.tree_util.keystr(path)
            shape, whole = jnp.shape(alive), jnp.shape(array)
            if shape != whole[: len(shape)]:
                raise ConfigError(
                    f"live{name} has shape {shape}, and the parameter {whole}; it must "
                    "have the axes that stack layers, () for a single one"
                )
            if isinstance(alive, jax.core.Tracer):
                continue
            other = np.setdiff1d(alive, (0, 1))
            if other.size:
                raise ConfigError(
                    f"live{name} holds {other[0]!s}; a layer takes part (1) or does "
                    "not (0)"
                )

    def shared(self, name: str, batch: Batch, compute: Callable[[], T]) -> T:
        """An intermediate that several proxies need, computed by the first of them.

        Kept until another batch is asked for, or another trace begins: what one traced
        function computed means nothing in another.
        """
        trace = get_opaque_trace_state(convention="nas_jax")
        if self._shared.get("batch") is not batch or self._shared["trace"] != trace:
            self._shared.clear()
            self._shared.update(batch=batch, trace=trace)
        if name not in self._shared:
            self._shared[name] = compute()
        value: T = self._shared[name]
        return value

    def tell(
        self, params: Params, images: jax.Array, gates: list[jax.Array] | None = None
    ) -> Observed:
        """What the network tells of images, normalised by their own statistics.

        Nothing where it has no `observe`.
        """
        if self.observe is None:
            return Observed()
        more = {} if gates is None else {"gates": gates}
        return self.observe(params, images, norm="batch", **more)

    def observed(self, batch: Batch) -> Observed:
        """What the network tells of a batch, shared by all who ask."""
        return self.shared(
            "observed", batch, lambda: self.tell(self.params, batch.images)
        )

    def logits_shape(self, batch: Batch) -> tuple[int, ...]:
        """Images and classes; nothing is run."""
        run = functools.partial(self.logits, self.params, norm="batch")
        shape: tuple[int, ...] = jax.eval_shape(run, batch.images).shape
        return shape

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


def gaussian(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """N(0, 1): the same numbers, drawn in 32 bits, whatever the dtype is."""
    return jax.random.normal(key, shape, jnp.float32).astype(dtype)


def _macs(logits: Logits, params: Params, shape: ImageShape) -> jax.Array:
    dtype = jnp.result_type(float, *jax.tree.leaves(params))
    image = jax.ShapeDtypeStruct((1, *shape), dtype)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    return jnp.asarray(
        count_macs(functools.partial(logits, norm="batch"), shapes, image), float
    )
