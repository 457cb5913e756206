"""Pruning by thin networks: TE-NAS (arXiv 2102.11535) and ETE-NAS (ICASSP 2023)."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas_jax.networks.registry import is_nasbench201
from nas_jax.networks.thin_darts import Initialisation
from nas_jax.proxies import linear_regions_proxy
from nas_jax.pruning.candidate_networks import SupernetSize, ThinNetwork
from nas_jax.pruning.importance import (
    Importance,
    relative_importance,
    sum_of_changes,
    sum_of_ranks,
)
from nas_jax.pruning.rankers import BuildNetwork, Ranker
from nas_jax.pruning.strategy import Strategy
from nas_jax.spaces import SearchSpace

REGION_IMAGES = 256
"""Images that crops for counting regions are cut out of."""
TE_NAS_REGIONS = linear_regions_proxy("te_nas_regions", size=3, batches=3, depth=1)
"""TE-NAS' 3,000 crops of 3x3 pixels of one channel, in 3 batches."""
ETE_NAS_REGIONS = linear_regions_proxy("ete_nas_regions", samples=100, size=3, depth=1)
"""ETE-NAS' 100 of them (exp_100)."""
KAIMING: Initialisation = "kaiming_normal_fan_out"


def te_nas(
    space: SearchSpace,
    *,
    batch_size: int | None = None,
    repeats: int = 3,
    step: int | None = None,
) -> Strategy:
    """Chen et al. 2021 (TE-NAS, arXiv 2102.11535), algorithm 1.

    The condition number of the neural tangent kernel and the number of linear regions
    of thin networks; changes are ranked, ranks are added. In the DARTS space both are
    of two cells with one channel. In NAS-Bench-201 the kernel is that of the supernet
    with 3 channels and one cell a stage, and regions those of one channel.

    Args:
        space: The search space.
        batch_size: Images of the kernel; None is TE-NAS' 14 (72 for NAS-Bench-201).
        repeats: Weights and batches; TE-NAS has 3.
        step: Operations that a round removes from an edge; None is TE-NAS' 3 (1 for
            NAS-Bench-201).
    """
    bench = is_nasbench201(space)
    kernel: BuildNetwork = SupernetSize(3, 1) if bench else ThinNetwork()
    regions: BuildNetwork = SupernetSize(1, 1) if bench else ThinNetwork(stem=False)
    rankers = [
        Ranker("ntk_cond", kernel, batch_size or (72 if bench else 14)),
        Ranker("linear_regions" if bench else TE_NAS_REGIONS, regions, REGION_IMAGES),
    ]
    return Strategy(
        "te_nas",
        rankers,
        sum_of_ranks,
        repeats=repeats,
        step=step or (1 if bench else 3),
    )


def ete_nas(
    space: SearchSpace,
    *,
    batch_size: int = 28,
    repeats: int = 3,
    step: int | None = None,
    defects: bool = False,
) -> Strategy:
    """Rumiantsev and Coates 2023 (ETE-NAS, ICASSP): sums of changes of thin networks.

    Rankers of the DARTS space's configuration: Frobenius norm and mean of the NNGP
    kernel, ReLU regions of 100 crops, and the distance of ReLU regions (nwot) of 150
    images, the last two with running statistics. Weights are drawn by
    `kaiming_normal_`, fan out, anew for each repeat.

    Args:
        space: The search space.
        batch_size: Images of the kernel: two batches of 14 in the public code.
        repeats: Weights and batches.
        step: Operations that a round removes from an edge; None is 3 (1 for
            NAS-Bench-201).
        defects: As the public code is, for comparison: it divides by r(N) with its
            sign, takes every score for one that is better higher, and gives all
            rankers the batch and the statistics of the last one.
    """
    bench = is_nasbench201(space)
    whole: BuildNetwork = SupernetSize(3, 1)
    bare: BuildNetwork = SupernetSize(1, 1)
    if not bench:
        whole = ThinNetwork(initialisation=KAIMING)
        bare = ThinNetwork(stem=False, initialisation=KAIMING)
    regions = "linear_regions" if bench else ETE_NAS_REGIONS
    rankers = [
        Ranker("nngp_frobenius", whole, batch_size),
        Ranker("nngp_mean", whole, batch_size),
        Ranker(regions, bare, REGION_IMAGES, norm="running"),
        Ranker("nwot", whole, 150, norm="running"),
    ]
    if defects:
        last = rankers[-1]
        rankers = [
            dataclasses.replace(r, norm=last.norm, batch_size=last.batch_size)
            for r in rankers
        ]
    kind = _AsPublished if defects else Strategy
    return kind(
        "ete_nas",
        rankers,
        sum_of_changes,
        repeats=repeats,
        step=step or (1 if bench else 3),
    )


class _AsPublished(Strategy):
    """(r(N) - r(N \\ e)) / r(N) whatever the sign of r(N) and the proxy's direction."""

    def importance(
        self, scores: np.ndarray, member: np.ndarray, rng: np.random.Generator
    ) -> Importance:
        whole, without = scores[:, 0], scores[:, 1:]
        return sum_of_changes(
            relative_importance(whole, without, np.sign(whole)[:, None])
        )
