"""Sampled pruning: what operations are worth in random architectures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.pruning.candidates import Operation, members, random_paths
from nas_jax.pruning.importance import Importance, marginal_ranks
from nas_jax.pruning.rankers import Ranker, SupernetSize
from nas_jax.pruning.strategy import (
    Option,
    Score,
    Strategy,
    of_supernet,
    register_strategy,
    scoring_options,
)
from nas_jax.spaces import SpaceMask


def sampled(
    size: SupernetSize,
    *,
    proxies: Sequence[str] = ("nwot",),
    samples: int = 1000,
    batch_size: int = 64,
    repeats: int = 1,
) -> _Sampled:
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
    rankers = tuple(Ranker(name, size, batch_size) for name in proxies)
    return _Sampled("sampled", rankers, repeats, samples)


@dataclasses.dataclass
class _Sampled(Strategy):
    name: str
    rankers: tuple[Ranker, ...]
    repeats: int
    samples: int

    def count(self, operations: int) -> int:
        return self.samples

    def importance(
        self,
        mask: SpaceMask,
        operations: Sequence[Operation],
        score: Score,
        rng: np.random.Generator,
    ) -> Importance:
        most = max(len(ops) for cell in mask.kept for ops in cell)
        if self.samples < most:
            raise ConfigError(
                f"{self.samples} sampled architectures are fewer than the {most} "
                "operations of an edge, each of which needs one; take hundreds"
            )
        live = random_paths(mask, self.samples, rng)
        signs = np.array([ranker.sign for ranker in self.rankers])
        return marginal_ranks(score(live), members(live, mask, operations), signs)


register_strategy(
    "sampled",
    of_supernet(sampled),
    options=(
        Option("proxies", ("nwot",), "names of the scores that rank"),
        Option("samples", 1000, "random architectures"),
        *scoring_options(64, 1),
    ),
    title="sampled architectures",
    meaning="A score is the mean rank of random architectures that have the "
    "operation, from −1 for the worst to 1 for the best, summed over the proxies (a "
    "measure of this project, without a published source).",
    part="the mean rank of the architectures that have the operation",
    below_zero="architectures with the operation are worse than the average",
    averaged="Ranks",
)
