"""Scores of many candidate masks of one supernet, in one compiled program."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.memory import MemoryUse
from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    mixture_weights,
    zero_alphas,
)
from nas_jax.networks.liveness import live_layers
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy

Live = Mapping[str, jax.Array | np.ndarray]


def scored_supernet(network: Supernet, params: Any, live: Live) -> ScoredNetwork:
    """The candidate that keeps the live operations, as proxies see it.

    All live operations of an edge weigh the same, as at the start of a search.

    Args:
        network: The supernet whose operations are the candidates.
        params: Its parameters, shared by all candidates.
        live: 0/1 arrays `[edges, operations]` by cell name; may be traced.
    """
    weights = mixture_weights(zero_alphas(network.mask.space), live)

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        out = network.clone(norm=norm).apply({"params": params}, images, weights)
        assert isinstance(out, jax.Array)
        return out

    def relu_inputs(params: Any, images: jax.Array) -> list[Any]:
        _, sown = network.apply(
            {"params": params}, images, weights, mutable=["relu_inputs"]
        )
        return jax.tree.leaves(sown["relu_inputs"], is_leaf=_is_pair)

    return ScoredNetwork(
        logits, params, live_layers(network, params, weights), relu_inputs
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and isinstance(value[0], jax.Array)


class CandidateScorer:
    """Scores candidates with several proxies; compiled once, whatever the candidates.

    Candidates are 0/1 arrays that multiply the architecture weights, so a new round,
    repeat or mask changes values and never shapes. All candidates are in one program;
    proxies that share no intermediate have a program each, because compile time grows
    faster than the program.

    Attributes:
        proxies: Names of the proxies.
        compile_seconds: Seconds to trace and compile; 0 before the first call.
        memory: Memory of the largest compiled program; None before the first call.
    """

    def __init__(
        self,
        network: Supernet,
        proxies: Sequence[str],
        image_shape: tuple[int, int, int],
        at_once: int,
    ) -> None:
        """Nothing is traced yet.

        Args:
            network: The supernet.
            proxies: Names of registered proxies.
            image_shape: Height, width and channels.
            at_once: Candidates that are computed side by side; the memory of the
                program grows with it.
        """
        self.proxies = tuple(proxies)
        self.compile_seconds = 0.0
        self.memory: MemoryUse | None = None
        self._groups = _program_groups(proxies)
        self._network = network
        self._at_once = at_once
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        alphas = jax.eval_shape(lambda: zero_alphas(network.mask.space))
        self._abstract = abstract_variables(network, images, alphas)
        self._compiled: dict[tuple[str, ...], Any] = {}

    def __call__(self, key: jax.Array, batch: Batch, live: Live) -> np.ndarray:
        """Scores of all candidates on fresh initial weights.

        Args:
            key: Draws the initial weights.
            batch: Images and labels.
            live: 0/1 arrays `[candidates, edges, operations]` by cell name.

        Returns:
            `[candidates, proxies]` float32.
        """
        params = init_variables(key, self._abstract)["params"]
        stacked = {name: jnp.asarray(a, jnp.float32) for name, a in live.items()}
        columns: dict[str, np.ndarray] = {}
        for group in self._groups:
            if group not in self._compiled:
                self._compile(group, params, batch, stacked)
            scores = np.asarray(self._compiled[group](params, batch, stacked))
            columns |= dict(zip(group, scores.T, strict=True))
        return np.stack([columns[name] for name in self.proxies], axis=1)

    def _compile(self, group: tuple[str, ...], *args: Any) -> None:
        start = time.perf_counter()
        scores = [get_proxy(name).score for name in group]

        def one(params: Any, batch: Batch, live: Live) -> jax.Array:
            network = scored_supernet(self._network, params, live)
            return jnp.stack([score(network, batch) for score in scores])

        def all_candidates(params: Any, batch: Batch, live: Live) -> jax.Array:
            size = self._at_once if self._at_once > 1 else None
            score = functools.partial(one, params, batch)
            return jax.lax.map(score, live, batch_size=size)

        compiled = jax.jit(all_candidates).lower(*args).compile()
        self._compiled[group] = compiled
        self.compile_seconds += time.perf_counter() - start
        memory = MemoryUse.of(compiled)
        if self.memory is None or memory.peak_bytes > self.memory.peak_bytes:
            self.memory = memory


def _program_groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Proxies by what they run: one program for each kind of pass over the network."""
    kinds: dict[Any, list[str]] = {}
    for name in names:
        proxy = get_proxy(name)
        kind = (proxy.needs_gradient, proxy.norm, proxy.input_kind)
        kinds.setdefault(kind, []).append(name)
    return [tuple(group) for group in kinds.values()]
