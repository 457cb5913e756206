"""Pruning by thin networks: TE-NAS (arXiv 2102.11535) and ETE-NAS (ICASSP 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_jax.errors import ConfigError
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
"""Weights of ETE-NAS (kaiming_norm_fanout)."""
NNGP_PROXIES = (
    "nngp_frobenius",
    "nngp_mean",
    "nngp_eigen",
    "nngp_cond",
    "nngp_lga",
)
"""Proxies of ETE-NAS' kernel."""


ETE_NAS_IMAGES = 150
"""Images of nwot in ETE-NAS, of which it calls one batch."""
ETE_NAS_PROXIES = ("nngp_frobenius", "nngp_mean", "linear_regions", "nwot")
"""Rankers of ETE-NAS' configuration for the DARTS space: frob, mean, exp_100, dist."""
THIN_CELLS = 2
"""Cells of a thin network of the DARTS space."""


def te_nas(
    space: SearchSpace,
    *,
    channels: int = 0,
    layers: int = 0,
    batch_size: int = 0,
    repeats: int = 3,
) -> Strategy:
    """Chen et al. 2021 (TE-NAS, arXiv 2102.11535), algorithm 1.

    The condition number of the neural tangent kernel and the number of linear regions
    of thin networks; changes are ranked, ranks are added. In the DARTS space both are
    of two cells with one channel. In NAS-Bench-201 the kernel is that of the supernet
    with 3 channels and one cell a stage, and regions those of one channel.

    Args:
        space: The search space.
        channels: Other channels of the networks; 0 is TE-NAS' own.
        layers: Other cells of each stage, in NAS-Bench-201 alone; 0 is one.
        batch_size: Images of the kernel; 0 is TE-NAS' 14 (72 for NAS-Bench-201).
        repeats: Weights and batches; TE-NAS has 3.

    Raises:
        ConfigError: If a thin network of the DARTS space is to have other than 2 cells.
    """
    bench = is_nasbench201(space)
    kernel, bare = _networks(space, channels, layers)
    rankers = [
        Ranker("ntk_cond", kernel, batch_size or (72 if bench else 14)),
        Ranker("linear_regions" if bench else TE_NAS_REGIONS, bare, REGION_IMAGES),
    ]
    return Strategy(
        "te_nas", rankers, sum_of_ranks, repeats=repeats, step=1 if bench else 3
    )


def ete_nas(
    space: SearchSpace,
    *,
    proxies: Sequence[str] = ETE_NAS_PROXIES,
    channels: int = 0,
    layers: int = 0,
    batch_size: int = 28,
    repeats: int = 3,
    defects: bool = False,
) -> Strategy:
    """Rumiantsev and Coates 2023 (ETE-NAS, ICASSP): sums of changes of thin networks.

    Kernels (NNGP) are of batches with their own statistics; regions of 100 crops, nwot
    of 150 images and zen have running statistics. In the DARTS space, weights are
    drawn by `kaiming_normal_`, fan out, anew for each repeat. In NAS-Bench-201 they
    have PyTorch's default and regions are those of 1,000 crops of 4x4 pixels, as its
    supernets halve an image twice.

    Args:
        space: The search space.
        proxies: What ranks: `linear_regions`, `nwot`, `zen` and the NNGP family.
        channels: Other channels of the networks; 0 is 1, in NAS-Bench-201 as `te_nas`.
        layers: Other cells of each stage, in NAS-Bench-201 alone; 0 is one.
        batch_size: Images of a kernel and of zen: two batches of 14 in the public code.
        repeats: Weights and batches.
        defects: As the public code prunes operations, for comparison: it divides by
            r(N) with its sign, takes every score for one that is better higher, and
            gives all rankers the statistics of the last one, and kernels one batch
            instead of two where that is no kernel.

    Raises:
        ConfigError: On another proxy, or if a thin network of the DARTS space is to
            have other than 2 cells.
    """
    bench = is_nasbench201(space)
    whole, bare = _networks(space, channels, layers, KAIMING)
    regions = "linear_regions" if bench else ETE_NAS_REGIONS
    possible = {
        "linear_regions": Ranker(regions, bare, REGION_IMAGES, norm="running"),
        "nwot": Ranker("nwot", whole, ETE_NAS_IMAGES, norm="running"),
        "zen": Ranker("zen", whole, batch_size, norm="running"),
        **{name: Ranker(name, whole, batch_size) for name in NNGP_PROXIES},
    }
    unknown = [name for name in proxies if name not in possible]
    if unknown or not proxies:
        wrong = unknown[0] if proxies else "nothing"
        raise ConfigError(
            f"ete_nas does not rank by {wrong!r}; allowed: "
            f"{', '.join(sorted(possible))}; zero_one_shot takes any proxy"
        )
    if defects:
        norm = possible[proxies[-1]].norm
        size = batch_size if proxies[-1] in NNGP_PROXIES else max(1, batch_size // 2)
        possible |= {name: Ranker(name, whole, size) for name in NNGP_PROXIES}
        possible = {
            name: Ranker(r.proxy, r.build, r.batch_size, norm)
            for name, r in possible.items()
        }
    kind = _AsPublished if defects else Strategy
    return kind(
        "ete_nas",
        [possible[name] for name in proxies],
        sum_of_changes,
        repeats=repeats,
        step=1 if bench else 3,
    )


def _networks(
    space: SearchSpace,
    channels: int,
    layers: int,
    initialisation: Initialisation = "default",
) -> tuple[BuildNetwork, BuildNetwork]:
    """The network of kernels, and the one without a stem whose regions are counted."""
    if is_nasbench201(space):
        return (
            SupernetSize(channels or 3, layers or 1),
            SupernetSize(channels or 1, layers or 1),
        )
    if layers not in (0, THIN_CELLS):
        raise ConfigError(
            f"prune.layers is {layers}, and the thin networks of te_nas and ete_nas "
            f"have {THIN_CELLS} cells, a normal and a reduction cell; give 0"
        )
    return (
        ThinNetwork(channels or 1, True, initialisation),
        ThinNetwork(channels or 1, False, initialisation),
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
