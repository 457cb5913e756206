"""Scores of candidate masks by rankers, in programs that are compiled once.

Candidates are 0/1 arrays that multiply the architecture weights, in chunks of one
size: another round, repeat or mask changes values and never shapes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from nas_jax.networks.layers import Norm
from nas_jax.proxies import Batch, Proxy, ScoredNetwork, get_proxy
from nas_jax.pruning.candidates import Live
from nas_jax.scoring import Scorer, compile_all
from nas_jax.spaces import SpaceMask

ImageShape = tuple[int, int, int]
GetBatch = Callable[[int, int], Batch]
"""The batch of a number and of so many images; equal arguments, equal batches."""


class CandidateNetwork(Protocol):
    """One network that has every candidate of a mask in it."""

    def init(self, key: jax.Array, image_shape: ImageShape) -> Any:
        """Initial weights for images of a shape (height, width, channels)."""
        ...

    def scored(self, params: Any, live: Mapping[str, Any]) -> ScoredNetwork:
        """The candidate that keeps what is alive, as proxies see it.

        Args:
            params: What `init` returned.
            live: 0/1 arrays `[edges, operations]` by cell name; may be traced.
        """
        ...


BuildNetwork = Callable[[SpaceMask, int], CandidateNetwork]
"""The network of a mask for a number of classes. Equal builders share a network."""


@dataclasses.dataclass(frozen=True)
class Ranker:
    """A proxy, the network that it scores and what that is fed.

    Attributes:
        proxy: Name of a registered proxy, or one that is not registered.
        build: The network.
        batch_size: Images in a batch.
        norm: What batch normalisation does, where it is not what the proxy's source
            says; None for that.
    """

    proxy: str | Proxy
    build: BuildNetwork
    batch_size: int
    norm: Norm | None = None

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
        rankers: What scores.
        chunk: Candidates in a call.
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
        self._groups: list[_Group] = []
        kinds: dict[Any, list[int]] = {}
        for index, ranker in enumerate(rankers):
            kind = (ranker.build, ranker.batch_size, ranker.norm)
            kinds.setdefault(kind, []).append(index)
        networks: dict[Any, CandidateNetwork] = {}
        for (build, batch_size, norm), columns in kinds.items():
            if build not in networks:
                networks[build] = build(mask, num_classes)
            network = networks[build]
            scorer = Scorer(
                _scored(network, norm),
                [rankers[i].proxy for i in columns],
                width=at_once,
                devices=devices,
            )
            self._groups.append(_Group(network, scorer, batch_size, columns))

    @property
    def peak_bytes(self) -> int:
        """Memory of the largest compiled program; 0 before the first call."""
        uses = [group.scorer.memory for group in self._groups]
        return max((use.peak_bytes for use in uses if use), default=0)

    def __call__(
        self, key: jax.Array, batches: GetBatch, number: int, live: Live
    ) -> np.ndarray:
        """Scores of a chunk of candidates.

        Args:
            key: Draws the initial weights and whatever proxies draw: the same for all
                candidates.
            batches: The images and labels.
            number: Which batch.
            live: `chunk` candidates.

        Returns:
            `[chunk, rankers]` float64.
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


@dataclasses.dataclass(frozen=True)
class _Group:
    """Rankers that share a network, its mode and its batch."""

    network: CandidateNetwork
    scorer: Scorer
    batch_size: int
    columns: list[int]


def _scored(
    network: CandidateNetwork, norm: Norm | None
) -> Callable[[Any, Any], ScoredNetwork]:
    if norm is None:
        return network.scored

    def scored(params: Any, live: Any) -> ScoredNetwork:
        return with_norm(network.scored(params, live), norm)

    return scored


def with_norm(network: ScoredNetwork, norm: Norm) -> ScoredNetwork:
    """The same network, whose batch normalisation does as said whatever is asked."""

    def logits(params: Any, images: jax.Array, **asked: Any) -> jax.Array:
        return network.logits(params, images, **{**asked, "norm": norm})

    def observe(params: Any, images: jax.Array, **asked: Any) -> Any:
        assert network.observe is not None
        return network.observe(params, images, **{**asked, "norm": norm})

    return dataclasses.replace(
        network, logits=logits, observe=observe if network.observe else None
    )
