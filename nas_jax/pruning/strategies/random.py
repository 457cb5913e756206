"""The control: operations drawn at random, what pruning has to be better than."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_jax.pruning.candidates import Operation
from nas_jax.pruning.importance import Importance
from nas_jax.pruning.rankers import Ranker
from nas_jax.pruning.strategy import Score, Strategy, register_strategy
from nas_jax.spaces import SpaceMask


class _RandomControl(Strategy):
    name = "random"
    rankers: tuple[Ranker, ...] = ()
    repeats = 1

    def count(self, operations: int) -> int:
        return 0

    def importance(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        score: Score,
        rng: np.random.Generator,
    ) -> Importance:
        drawn = rng.permutation(len(operations)).astype(np.float64)
        nothing = np.zeros((len(drawn), 0))
        return Importance(drawn, np.zeros(len(drawn)), nothing, nothing)


def random_control() -> _RandomControl:
    """Operations drawn at random: what pruning has to be better than."""
    return _RandomControl()


register_strategy(
    "random",
    lambda space: random_control(),
    title="random control",
    meaning="A score is a random draw, as no network was scored: what any other "
    "strategy has to be better than (a control of this project).",
    averaged="Draws",
)
