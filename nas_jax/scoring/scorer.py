"""Proxy scores of many architectures in programs that are compiled once.

Architectures are data: arrays that a network family reads while it runs, such as masks
of a supernet or the operations of a cell. Other architectures change values and never
shapes. Proxies that share no intermediate have a program each, because compile time
grows faster than the program.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nas_jax.memory import MemoryUse
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy

ARCHITECTURE_AXIS = "architecture"


class Scorer:
    """Scores architectures, spread over devices and, on each, in turns.

    Attributes:
        proxies: Names of the proxies.
        compile_seconds: Seconds to trace and compile; 0 before the first call.
        seconds: Seconds of scoring so far, by proxy. Proxies of one program have what
            it took for all of them.
        scored: Number of architectures scored so far.
        memory: Memory of the largest compiled program on one device; None before the
            first call.
    """

    def __init__(
        self,
        scored: Callable[[Any, Any], ScoredNetwork],
        proxies: Sequence[str],
        *,
        width: int = 1,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        """Nothing is traced yet.

        Args:
            scored: The network of parameters and of one architecture's arrays.
            proxies: Names of registered proxies.
            width: Architectures that a device computes side by side (`vmap`). One at a
                time, a CPU computes nothing but the operations that an architecture
                has; side by side they keep an accelerator busy. Memory grows with it.
            devices: Which share the architectures; None is all that there are.
        """
        self.proxies = tuple(proxies)
        self.compile_seconds = 0.0
        self.seconds = dict.fromkeys(self.proxies, 0.0)
        self.scored = 0
        self.memory: MemoryUse | None = None
        self._network = scored
        self._groups = program_groups(proxies)
        self._width = width
        devices = jax.devices() if devices is None else devices
        # XLA has no 64-bit convolution for a TPU.
        self._has_64_bit = devices[0].platform != "tpu"
        self._mesh = Mesh(
            np.asarray(devices), (ARCHITECTURE_AXIS,), axis_types=(AxisType.Auto,)
        )
        self._compiled: dict[Any, Any] = {}

    def __call__(
        self, params: Any, batch: Batch, key: jax.Array, architectures: Any
    ) -> np.ndarray:
        """Scores of all architectures; another number of them compiles anew.

        Args:
            params: Parameters that all of them share.
            batch: Images and labels.
            key: For whatever a proxy draws: the same for all architectures.
            architectures: A tree of arrays `[N, ...]`.

        Returns:
            `[N, proxies]` float64; NaN or infinite where a proxy fails.
        """
        count = len(jax.tree.leaves(architectures)[0])
        # Every device gets equally many: the first ones are computed again.
        index = np.arange(-(-count // self._mesh.size) * self._mesh.size) % count
        padded = jax.tree.map(lambda x: np.asarray(x)[index], architectures)
        arguments = (params, batch, key, padded)
        columns: dict[str, np.ndarray] = {}
        for group in self._groups:
            # Only where a proxy needs them: 64-bit numbers take twice the time.
            with jax.enable_x64(self._has_64_bit and get_proxy(group[0]).float64):
                if (group, len(index)) not in self._compiled:
                    self._compiled[group, len(index)] = self._compile(group, arguments)
                start = time.perf_counter()
                scores = np.asarray(self._compiled[group, len(index)](*arguments))
            for name, column in zip(group, scores[:count].T, strict=True):
                columns[name] = column
                self.seconds[name] += time.perf_counter() - start
        self.scored += count
        ordered = [columns[name] for name in self.proxies]
        return np.stack(ordered, axis=1).astype(np.float64)

    def _compile(self, group: tuple[str, ...], arguments: Any) -> Any:
        start = time.perf_counter()
        split = NamedSharding(self._mesh, P(ARCHITECTURE_AXIS))
        whole = NamedSharding(self._mesh, P())
        function = functools.partial(_score_all, self._network, group, self._width)
        if self._mesh.size > 1:
            function = jax.shard_map(
                function,
                mesh=self._mesh,
                in_specs=(P(), P(), P(), P(ARCHITECTURE_AXIS)),
                out_specs=P(ARCHITECTURE_AXIS),
                check_vma=False,
            )
        jitted = jax.jit(
            function, in_shardings=(whole, whole, whole, split), out_shardings=split
        )
        compiled = jitted.lower(*arguments).compile()
        self.compile_seconds += time.perf_counter() - start
        memory = MemoryUse.of(compiled)
        if self.memory is None or memory.peak_bytes > self.memory.peak_bytes:
            self.memory = memory
        return compiled


def _score_all(
    scored: Callable[[Any, Any], ScoredNetwork],
    group: tuple[str, ...],
    width: int,
    params: Any,
    batch: Batch,
    key: jax.Array,
    architectures: Any,
) -> jax.Array:
    """Scores `[N, proxies]` of one device's architectures."""

    def one(architecture: Any) -> jax.Array:
        network = scored(params, architecture)
        return jax.numpy.stack(
            [get_proxy(n).score(network, batch, proxy_key(key, n)) for n in group]
        )

    return lax.map(one, architectures, batch_size=width if width > 1 else None)


def proxy_key(key: jax.Array, proxy: str) -> jax.Array:
    """A proxy's own key, whichever other proxies there are."""
    return jax.random.fold_in(key, zlib.crc32(proxy.encode()))


def program_groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Proxies by what they run: one program for each shared intermediate."""
    kinds: dict[Any, list[str]] = {}
    for name in names:
        p = get_proxy(name)
        kind = (p.needs_gradient, p.norm, p.input_kind, p.intermediate, p.float64)
        kinds.setdefault(kind, []).append(name)
    return [tuple(group) for group in kinds.values()]


def widest(budget_bytes: int, peak_bytes: Callable[[int], int], most: int) -> int:
    """The largest width whose program fits a device.

    Memory is taken to be a constant and a part for each architecture, from two widths
    that are compiled; what that suggests is compiled too, and halved until it fits.

    Args:
        budget_bytes: What a program may hold.
        peak_bytes: Compiles a width and returns its `MemoryUse.peak_bytes`.
        most: No larger width is wanted.

    Returns:
        1 or more; 1 also where nothing fits, which the caller sees in `Scorer.memory`.
    """
    first, second = peak_bytes(1), peak_bytes(2)
    each = max(second - first, 1)
    width = max(1, min(most, 1 + (budget_bytes - first) // each))
    while width > 2 and peak_bytes(width) > budget_bytes:
        width //= 2
    return width if width != 2 or second <= budget_bytes else 1
