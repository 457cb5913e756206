"""Scores of candidate masks by rankers, in programs that are compiled once.

Candidates are 0/1 arrays that multiply the architecture weights, in chunks of one
size: another round, repeat or mask changes values and never shapes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from nas_jax.networks import Candidates, Scorable, Size, family_of
from nas_jax.networks.layers import Norm
from nas_jax.proxies import Batch, Proxy, get_proxy
from nas_jax.pruning.candidates import Live
from nas_jax.scoring import Scorer, compile_all, scored_network
from nas_jax.spaces import SearchSpace, SpaceMask

GetBatch = Callable[[int, int], Batch]
"""The batch of a number and of so many images; equal arguments, equal batches."""
BuildNetwork = Callable[[SpaceMask, int], Scorable]
"""The networks of a mask for a number of classes. Equal builders share networks."""


@dataclasses.dataclass(frozen=True)
class SupernetSize:
    """Builds the supernet that a search would train.

    Attributes:
        channels: Channels of its first cells.
        layers: Its cells; those of each stage where its family has stages.
    """

    channels: int
    layers: int

    def __call__(self, mask: SpaceMask, num_classes: int) -> Scorable:
        """The supernet of a mask, and all candidates in it."""
        return Candidates(mask, Size(self.channels, self.layers), num_classes)


def usual_size(space: SearchSpace, channels: int = 0, layers: int = 0) -> SupernetSize:
    """The supernet that a space is searched with; 0 is what its family has."""
    usual = family_of(space).usual_size
    return SupernetSize(channels or usual.channels, layers or usual.cells)


@dataclasses.dataclass(frozen=True)
class Ranker:
    """A proxy, the network that it scores and what that is fed.

    Attributes:
        proxy: Name of a registered proxy, or one that is not registered.
        build: The network.
        batch_size: Images in a batch.
        norm: What batch normalisation does, where it is not what the proxy's source
            says; None for that.
        rows_at_once: See `ScoredNetwork`.
    """

    proxy: str | Proxy
    build: BuildNetwork
    batch_size: int
    norm: Norm | None = None
    rows_at_once: int = 1

    @property
    def scored_by(self) -> Proxy:
        """The proxy itself."""
        return get_proxy(self.proxy)

    @property
    def name(self) -> str:
        """The proxy's name."""
        return self.scored_by.name

    @property
    def sign(self) -> float:
        """1 where a higher score is better, -1 where a lower one is."""
        return 1.0 if self.scored_by.higher_is_better else -1.0


class RankerScores:
    """Scores chunks of candidates by all rankers.

    Attributes:
        compile_seconds: Seconds to trace and compile; 0 before the first call.
    """

    def __init__(
        self,
        rankers: Sequence[Ranker],
        mask: SpaceMask,
        num_classes: int,
        *,
        chunk: int,
        at_once: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        """Nothing is traced yet.

        Args:
            rankers: What scores.
            mask: Operations to build: all that a candidate may have.
            num_classes: Number of classes.
            chunk: Candidates in a call.
            at_once: Candidates that a device computes side by side; the memory of the
                program grows with it.
            devices: Which share the candidates; None is all that there are.
        """
        self.rankers = tuple(rankers)
        self.chunk = chunk
        self.compile_seconds = 0.0
        build = functools.cache(lambda build: build(mask, num_classes))
        kinds: dict[Ranker, list[int]] = {}
        for index, ranker in enumerate(rankers):
            kinds.setdefault(dataclasses.replace(ranker, proxy=""), []).append(index)
        self._groups = []
        for kind, columns in kinds.items():
            network = build(kind.build)
            scored = functools.partial(
                scored_network, network, norm=kind.norm, rows_at_once=kind.rows_at_once
            )
            proxies = [rankers[i].proxy for i in columns]
            scorer = Scorer(scored, proxies, width=at_once, devices=devices)
            self._groups.append(_Group(network, scorer, kind.batch_size, columns))

    @property
    def peak_bytes(self) -> int:
        """Memory of the largest compiled program; 0 before the first call."""
        uses = [group.scorer.memory for group in self._groups]
        return max((use.peak_bytes for use in uses if use), default=0)

    def __call__(
        self, key: jax.Array, batches: GetBatch, number: int, live: Live
    ) -> np.ndarray:
        """Scores of `chunk` candidates, `[chunk, rankers]` float64.

        Args:
            key: Draws the initial weights and whatever proxies draw: the same for all
                candidates.
            batches: The images and labels.
            number: Which batch.
            live: The candidates.
        """
        calls = []
        for group in self._groups:
            batch = batches(number, group.batch_size)
            _, height, width, depth = batch.images.shape
            params = group.network.init(key, (height, width, depth))
            calls.append((group.scorer, (params, batch, key, live)))
        self.compile_seconds += compile_all(calls)
        scores = np.empty((self.chunk, len(self.rankers)))
        for group, (scorer, arguments) in zip(self._groups, calls, strict=True):
            scores[:, group.columns] = scorer(*arguments)
        return scores


class _Group(NamedTuple):
    """Rankers that share a network, its mode and its batch."""

    network: Scorable
    scorer: Scorer
    batch_size: int
    columns: list[int]
