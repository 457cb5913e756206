"""Zero-Cost-PT's operation selection (Xiang et al. 2021, arXiv 2106.08554)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas_jax.pruning.candidates import Edge
from nas_jax.pruning.rankers import Ranker, SupernetSize
from nas_jax.pruning.strategies.leave_one_out import CHANGE, RISE, LeaveOneOut
from nas_jax.pruning.strategy import (
    Round,
    of_supernet,
    register_strategy,
    scoring_options,
)
from nas_jax.spaces import SpaceMask


def zero_cost_pt(
    size: SupernetSize, *, batch_size: int = 64, repeats: int = 1
) -> LeaveOneOut:
    """Xiang et al. 2021 (Zero-Cost-PT, arXiv 2106.08554), operation selection.

    Edge by edge in a random order, by nwot with running statistics: the operations
    stay without which the score is lowest, and the next edge is scored without those
    that went. The paper keeps one operation of each edge; here as many as asked for.

    Args:
        size: The scored supernet's; 16 channels and 8 cells in the paper.
        batch_size: Images in a batch; a new batch for every edge.
        repeats: Weights and batches; the paper has one.
    """
    rankers = (Ranker("nwot", size, batch_size, norm="running"),)
    return _EdgeByEdge("zero_cost_pt", rankers, repeats)


class _EdgeByEdge(LeaveOneOut):
    """A round for each edge, in a random order."""

    def schedule(
        self, mask: SpaceMask, keep: Mapping[Edge, int], rng: np.random.Generator
    ) -> list[Round]:
        wanted = [e for e in keep if len(mask.edge(*e)) > keep[e]]
        return [{wanted[i]: keep[wanted[i]]} for i in rng.permutation(len(wanted))]


register_strategy(
    "zero_cost_pt",
    of_supernet(zero_cost_pt),
    options=scoring_options(64, 1),
    title="Zero-Cost-PT",
    meaning="A score is the relative loss when that operation alone is removed, edge "
    "by edge in a random order, without what the edges before have lost (Xiang et "
    "al. 2021, arXiv 2106.08554, operation selection).",
    reference="arXiv 2106.08554",
    part=CHANGE,
    below_zero=RISE,
)
