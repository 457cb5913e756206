"""What a pruning strategy is: rounds, candidates, scores and what they mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas_jax.pruning.candidates import (
    Edge,
    Live,
    Operation,
    leave_one_out,
    removable,
)
from nas_jax.pruning.importance import Importance, relative_importance
from nas_jax.pruning.rankers import Ranker
from nas_jax.spaces import SpaceMask

Combine = Callable[[np.ndarray], Importance]
"""From relative changes `[repeats, operations, rankers]`."""

Round = Mapping[Edge, int]
"""Operations that edges keep after a round. Edges that are not in it are left alone."""


class Strategy:
    """How operations are chosen. This one removes each in turn and scores what is left.

    A round scores the whole network and the network without each operation that might
    go, all by the same weights and images; `combine` turns relative changes of scores
    into importance. Others override what they do differently.

    Attributes:
        name: Its name in artefacts.
        rankers: What scores; nothing for a strategy that scores nothing.
        repeats: Weights and batches that an importance is averaged over.
        scores_whole: Whether the first candidate of a round is the whole network.
    """

    scores_whole = True

    def __init__(
        self,
        name: str,
        rankers: Sequence[Ranker],
        combine: Combine,
        *,
        repeats: int,
        rounds: int = 1,
        step: int | None = None,
    ) -> None:
        """A leave-one-out strategy.

        Args:
            name: Its name in artefacts.
            rankers: What scores.
            combine: From relative changes to importance.
            repeats: Weights and batches that an importance is averaged over.
            rounds: Rounds, which remove about equally many operations each.
            step: Operations that a round removes from an edge, instead of `rounds`.
        """
        self.name = name
        self.rankers = tuple(rankers)
        self.repeats = repeats
        self._combine = combine
        self._rounds, self._step = rounds, step

    def schedule(
        self, mask: SpaceMask, keep: Mapping[Edge, int], rng: np.random.Generator
    ) -> list[Round]:
        """What edges keep after each round.

        Args:
            mask: What is there.
            keep: What edges keep in the end.
            rng: For a strategy that draws an order.
        """
        del rng
        there = {e: len(mask.edge(*e)) for e in keep}
        excess = {e: there[e] - keep[e] for e in keep if there[e] > keep[e]}
        most = max(excess.values(), default=0)
        rounds = math.ceil(most / self._step) if self._step else self._rounds
        rounds = min(rounds, most)

        def gone(edge: Edge, done: int) -> int:
            if self._step:
                return min(excess[edge], done * self._step)
            return math.ceil(excess[edge] * done / rounds)

        return [
            {e: there[e] - gone(e, done) for e in excess}
            for done in range(1, rounds + 1)
        ]

    def operations(self, mask: SpaceMask, goal: Round) -> list[Operation]:
        """The operations that a round may remove."""
        return removable(mask, dict(goal))

    def candidates(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        rng: np.random.Generator,
    ) -> Live:
        """What a round scores."""
        del rng
        return leave_one_out(mask, operations)

    def count(self, operations: int) -> int:
        """Number of candidates of a round that may remove so many operations."""
        return 1 + operations

    def importance(
        self, scores: np.ndarray, member: np.ndarray, rng: np.random.Generator
    ) -> Importance:
        """What scores say of the operations.

        Args:
            scores: Of the candidates, `[repeats, candidates, rankers]`.
            member: 0/1, which candidates have which operations alive,
                `[candidates, operations]`.
            rng: For a strategy that draws.
        """
        del member, rng
        return self._combine(
            relative_importance(scores[:, 0], scores[:, 1:], self.signs)
        )

    @property
    def signs(self) -> np.ndarray:
        """1 for each ranker whose higher score is better, -1 for the others."""
        return np.array([ranker.sign for ranker in self.rankers])
