"""Zero-One-Shot pruning (arXiv 2505.13586) and the controls it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.pruning.candidate_networks import SupernetSize
from nas_jax.pruning.candidates import Edge, Live, Operation, random_paths
from nas_jax.pruning.importance import Importance, marginal_ranks, sum_of_changes
from nas_jax.pruning.rankers import Ranker
from nas_jax.pruning.strategy import Round, Strategy
from nas_jax.spaces import SpaceMask

DEFAULT_PROXIES = ("nwot", "logsynflow")
"""Rankers of `zero_one_shot`; the paper does not name its own."""


def zero_one_shot(
    size: SupernetSize,
    *,
    proxies: Sequence[str] = DEFAULT_PROXIES,
    batch_size: int = 64,
    repeats: int = 3,
    rounds: int = 1,
) -> Strategy:
    """Rumiantsev and Coates 2025 (arXiv 2505.13586): sums of relative changes.

        s_e = sum over proxies r of (r(N) - r(N \\ e)) / |r(N)|

    with N the untrained supernet of all that is left. The score of a proxy for which
    less is better counts with the other sign.

    Args:
        size: The scored supernet's.
        proxies: Names of registered proxies, the paper's R.
        batch_size: Images in a batch.
        repeats: Weights and batches that an importance is averaged over.
        rounds: The paper's outer iterations.
    """
    rankers = [Ranker(name, size, batch_size) for name in proxies]
    return Strategy(
        "zero_one_shot", rankers, sum_of_changes, repeats=repeats, rounds=rounds
    )


def zero_cost_pt(
    size: SupernetSize, *, batch_size: int = 64, repeats: int = 1
) -> Strategy:
    """Xiang et al. 2021 (Zero-Cost-PT, arXiv 2106.08554), operation selection.

    Edge by edge in a random order, by nwot with running statistics: the operations
    stay without which the score is lowest, and the next edge is scored without those
    that went. The paper keeps one operation of each edge; here as many as asked for.

    Args:
        size: The scored supernet's; 16 channels and 8 cells in the paper.
        batch_size: Images in a batch; a new batch for every edge.
        repeats: Weights and batches; the paper has one.
    """
    return _EdgeByEdge(
        "zero_cost_pt",
        [Ranker("nwot", size, batch_size, norm="running")],
        sum_of_changes,
        repeats=repeats,
    )


def sampled(
    size: SupernetSize,
    *,
    proxies: Sequence[str] = ("nwot",),
    samples: int = 1000,
    batch_size: int = 64,
    repeats: int = 1,
) -> Strategy:
    """The mean rank of random architectures that have an operation, over proxies.

    An architecture has one operation on every edge. Where leaving one out asks what
    an operation adds to a network that has all others too, this asks what it is worth
    in a network that has one of each.

    Args:
        size: The scored supernet's.
        proxies: Names of registered proxies.
        samples: Architectures.
        batch_size: Images in a batch.
        repeats: Weights and batches.
    """
    rankers = [Ranker(name, size, batch_size) for name in proxies]
    return _Sampled(samples, rankers, repeats)


def random_control() -> Strategy:
    """Operations drawn at random: what pruning has to be better than."""
    return _Random()


class _EdgeByEdge(Strategy):
    """A round for each edge, in a random order."""

    def schedule(
        self, mask: SpaceMask, keep: Mapping[Edge, int], rng: np.random.Generator
    ) -> list[Round]:
        wanted = [e for e in keep if len(mask.edge(*e)) > keep[e]]
        return [{wanted[i]: keep[wanted[i]]} for i in rng.permutation(len(wanted))]


class _Sampled(Strategy):
    scores_whole = False

    def __init__(self, samples: int, rankers: Sequence[Ranker], repeats: int) -> None:
        super().__init__("sampled", rankers, sum_of_changes, repeats=repeats)
        self._samples = samples

    def candidates(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        rng: np.random.Generator,
    ) -> Live:
        most = max(len(ops) for cell in mask.kept for ops in cell)
        if self._samples < most:
            raise ConfigError(
                f"{self._samples} sampled architectures are fewer than the {most} "
                "operations of an edge, each of which needs one; take hundreds"
            )
        return random_paths(mask, self._samples, rng)

    def count(self, operations: int) -> int:
        return self._samples

    def importance(
        self, scores: np.ndarray, member: np.ndarray, rng: np.random.Generator
    ) -> Importance:
        return marginal_ranks(scores, member, self.signs)


class _Random(Strategy):
    scores_whole = False

    def __init__(self) -> None:
        super().__init__("random", (), sum_of_changes, repeats=1)

    def count(self, operations: int) -> int:
        return 0

    def importance(
        self, scores: np.ndarray, member: np.ndarray, rng: np.random.Generator
    ) -> Importance:
        drawn = rng.permutation(member.shape[1]).astype(np.float64)
        nothing = np.zeros((len(drawn), 0))
        return Importance(drawn, np.zeros(len(drawn)), nothing, nothing)
