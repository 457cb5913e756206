"""Proxy scores of many architectures in programs that are compiled once.

Architectures are data: arrays that a network family reads while it runs, such as masks
of a supernet or the operations of a cell. Other architectures change values and never
shapes. Proxies that share no intermediate have a program each, because compile time
grows faster than the program; programs are compiled side by side.
"""

from __future__ import annotations

import functools
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from nas_jax.memory import MemoryUse
from nas_jax.proxies import Batch, Proxy, ScoredNetwork, get_proxy

Arguments = tuple[Any, Batch, jax.Array, Any]
"""What a `Scorer` is called with."""
Group = tuple[str | Proxy, ...]
"""Proxies of one program."""
ARCHITECTURE_AXIS = "architecture"
MOST_THREADS = 8
"""Programs that run at once on a processor at most: each holds its temporaries."""


class Scorer:
    """Scores architectures, spread over devices and, on each, in turns.

    On a processor that is one device, several threads run the same program, each for
    its share of the architectures: a thread's loops and small operations use one core.

    Attributes:
        proxies: Names of the proxies.
        compile_seconds: Seconds to trace and compile, of calls of this scorer; 0 before
            the first, and where `compile_all` was called before.
        seconds: Seconds of scoring so far, by proxy. Proxies of one program have what
            it took for all of them.
        scored: Number of architectures scored so far.
        memory: Memory of the largest compiled program on one device; None before the
            first call. Threads hold its temporaries and results once each.
    """

    def __init__(
        self,
        scored: Callable[[Any, Any], ScoredNetwork],
        proxies: Sequence[str | Proxy],
        *,
        width: int = 1,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        """Nothing is traced yet.

        Args:
            scored: The network of parameters and of one architecture's arrays.
            proxies: Names of registered proxies, or proxies that are not registered.
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
        self._threads = 1
        if len(devices) == 1 and devices[0].platform == "cpu" and width == 1:
            self._threads = min(MOST_THREADS, os.cpu_count() or 1)
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
        given = params, batch, key
        self.compile_seconds += compile_all([(self, (*given, architectures))])
        count, shares = self._shares(architectures)
        columns: dict[str | Proxy, np.ndarray] = {}
        for group in self._groups:
            name = self._name(group, shares[0], params, batch)
            program, x64 = self._compiled[name], name[-1]

            def run(share: Any, program: Any = program, x64: bool = x64) -> np.ndarray:
                with jax.enable_x64(x64):  # Each thread has its own setting.
                    return np.asarray(program(*given, share))

            start = time.perf_counter()
            with ThreadPoolExecutor(len(shares)) as pool:
                results = list(pool.map(run, shares))
            scores = np.stack(results, 1).reshape(-1, len(group))[:count]
            for proxy, column in zip(group, scores.T, strict=True):
                columns[proxy] = column
                self.seconds[proxy] += time.perf_counter() - start
        self.scored += count
        ordered = [columns[proxy] for proxy in self.proxies]
        return np.stack(ordered, axis=1).astype(np.float64)

    def lower(self, arguments: Arguments) -> Iterator[tuple[Any, jax.stages.Lowered]]:
        """Traces the programs that a call lacks, each with what it is known by."""
        params, batch, key, architectures = arguments
        share = self._shares(architectures)[1][0]
        split = NamedSharding(self._mesh, P(ARCHITECTURE_AXIS))
        whole = NamedSharding(self._mesh, P())
        for group in self._groups:
            name = self._name(group, share, params, batch)
            if name in self._compiled:
                continue
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
            with jax.enable_x64(name[-1]):
                lowered = jitted.lower(params, batch, key, share)
            yield name, lowered

    def keep(self, name: Any, compiled: jax.stages.Compiled) -> None:
        """Keeps a program for calls to come, by what `lower` calls it."""
        self._compiled[name] = compiled
        memory = MemoryUse.of(compiled)
        if self.memory is None or memory.peak_bytes > self.memory.peak_bytes:
            self.memory = memory

    def _name(self, group: Group, share: Any, *given: Any) -> tuple[Group, int, bool]:
        """What a program is known by: proxies, architectures, and whether of 64 bits.

        Those only where a proxy needs them or is given some: they take longer. Without
        them a program would take float64 images for what it is not.
        """
        wide = any(x.dtype == np.float64 for x in jax.tree.leaves(given))
        x64 = self._has_64_bit and (wide or get_proxy(group[0]).float64)
        return group, len(jax.tree.leaves(share)[0]), x64

    def _shares(self, architectures: Any) -> tuple[int, list[Any]]:
        """Number of architectures, and what each thread gets of them.

        Every device and thread gets equally many: the first ones are computed again.
        """
        count = len(jax.tree.leaves(architectures)[0])
        threads = min(self._threads, count)
        parts = threads * self._mesh.size
        index = np.arange(-(-count // parts) * parts) % count
        return count, [
            jax.tree.map(lambda x, i=index[t::threads]: np.asarray(x)[i], architectures)
            for t in range(threads)
        ]


def compile_all(calls: Sequence[tuple[Scorer, Arguments]]) -> float:
    """Compiles what calls of scorers lack, and returns the seconds that it took.

    One program is traced while others are compiled, which needs no lock of Python's.
    """
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [
            (scorer, name, pool.submit(lowered.compile))
            for scorer, arguments in calls
            for name, lowered in scorer.lower(arguments)
        ]
        for scorer, name, future in running:
            scorer.keep(name, future.result())
    return time.perf_counter() - start if running else 0.0


def _score_all(
    scored: Callable[[Any, Any], ScoredNetwork],
    group: Group,
    width: int,
    params: Any,
    batch: Batch,
    key: jax.Array,
    architectures: Any,
) -> jax.Array:
    """Scores `[N, proxies]` of one device's architectures."""

    def one(architecture: Any) -> jax.Array:
        network = scored(params, architecture)
        proxies = map(get_proxy, group)
        return jax.numpy.stack(
            [p.score(network, batch, proxy_key(key, p.name)) for p in proxies]
        )

    return lax.map(one, architectures, batch_size=width if width > 1 else None)


def proxy_key(key: jax.Array, proxy: str) -> jax.Array:
    """A proxy's own key, whichever other proxies there are."""
    return jax.random.fold_in(key, zlib.crc32(proxy.encode()))


def program_groups(names: Sequence[str | Proxy]) -> list[Group]:
    """Proxies by what they run: one program for each shared intermediate."""
    kinds: dict[Any, list[str | Proxy]] = {}
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
