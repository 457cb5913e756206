"""Leave-one-out: remove each operation in turn, and score what is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas_jax.pruning.candidates import Edge, Operation, leave_one_out
from nas_jax.pruning.importance import Importance, relative_importance, sum_of_changes
from nas_jax.pruning.rankers import Ranker
from nas_jax.pruning.strategy import Round, Score, equal_rounds, rounds_of_step
from nas_jax.spaces import SpaceMask

CHANGE = "the relative loss when the operation is removed"
"""What a proxy's own figure is."""
RISE = "the proxies rate the network higher without the operation"
"""What a negative score says."""


@dataclasses.dataclass
class LeaveOneOut:
    """Scores the whole network and the network without each operation that might go.

    All by the same weights and images; see `Strategy`.

    Attributes:
        name: Its name in artefacts.
        rankers: What scores.
        repeats: Weights and batches that an importance is averaged over.
        combine: From relative changes `[repeats, operations, rankers]` to importance.
        rounds: Rounds, which remove about equally many operations each.
        step: Operations that a round removes from an edge, instead of `rounds`.
    """

    name: str
    rankers: tuple[Ranker, ...]
    repeats: int
    combine: Callable[[np.ndarray], Importance] = sum_of_changes
    rounds: int = 1
    step: int | None = None

    def schedule(
        self, mask: SpaceMask, keep: Mapping[Edge, int], rng: np.random.Generator
    ) -> list[Round]:
        """Rounds of all edges at once."""
        if self.step:
            return rounds_of_step(mask, keep, self.step)
        return equal_rounds(mask, keep, self.rounds)

    def count(self, operations: int) -> int:
        """The whole network, and one without each operation."""
        return 1 + operations

    def importance(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        score: Score,
        rng: np.random.Generator,
    ) -> Importance:
        """What `combine` makes of the changes of scores."""
        scores = score(leave_one_out(mask, operations), whole_first=True)
        return self.combine(self.changes(scores[:, 0], scores[:, 1:]))

    def changes(self, whole: np.ndarray, without: np.ndarray) -> np.ndarray:
        """`relative_importance`, in the direction of each ranker."""
        signs = np.array([ranker.sign for ranker in self.rankers])
        return relative_importance(whole, without, signs)
