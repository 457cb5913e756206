"""ETE-NAS' pruning (Rumiantsev and Coates 2023, ICASSP), and its code's defects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from nas_jax.contrib.te_nas.te_nas import (
    REGION_IMAGES,
    removed_at_once,
    staged,
    thin_networks,
    thin_options,
)
from nas_jax.errors import ConfigError
from nas_jax.proxies import linear_regions_proxy
from nas_jax.pruning import (
    LeaveOneOut,
    Option,
    Ranker,
    register_strategy,
    relative_importance,
)
from nas_jax.pruning.strategies.leave_one_out import CHANGE, RISE
from nas_jax.spaces import SearchSpace

ETE_NAS_REGIONS = linear_regions_proxy("ete_nas_regions", samples=100, size=3, depth=1)
"""ETE-NAS' 100 crops of 3x3 pixels of one channel (exp_100)."""
NNGP_PROXIES = tuple(f"nngp_{n}" for n in "frobenius mean eigen cond lga".split())
"""Proxies of ETE-NAS' kernel."""
ETE_NAS_IMAGES = 150
"""Images of nwot in ETE-NAS, of which it calls one batch."""
ETE_NAS_PROXIES = ("nngp_frobenius", "nngp_mean", "linear_regions", "nwot")
"""Rankers of ETE-NAS' configuration for the DARTS space: frob, mean, exp_100, dist."""


def ete_nas(
    space: SearchSpace,
    *,
    proxies: Sequence[str] = ETE_NAS_PROXIES,
    channels: int = 0,
    layers: int = 0,
    batch_size: int = 28,
    repeats: int = 3,
    defects: bool = False,
) -> LeaveOneOut:
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
    whole, bare = thin_networks(space, channels, layers, "kaiming_normal_fan_out")
    regions = "linear_regions" if staged(space) else ETE_NAS_REGIONS
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
    rankers = [possible[name] for name in proxies]
    if defects:
        last = rankers[-1]
        if last.name not in NNGP_PROXIES:
            batch_size = max(1, batch_size // 2)
        rankers = [
            dataclasses.replace(
                ranker,
                norm=last.norm,
                batch_size=batch_size
                if ranker.name in NNGP_PROXIES
                else ranker.batch_size,
            )
            for ranker in rankers
        ]
    kind = _AsPublished if defects else LeaveOneOut
    return kind("ete_nas", tuple(rankers), repeats, step=removed_at_once(space))


class _AsPublished(LeaveOneOut):
    """(r(N) - r(N \\ e)) / r(N) whatever the sign of r(N) and the proxy's direction."""

    def changes(self, whole: np.ndarray, without: np.ndarray) -> np.ndarray:
        return relative_importance(whole, without, np.sign(whole)[:, None])


register_strategy(
    "ete_nas",
    ete_nas,
    options=(
        Option("proxies", ETE_NAS_PROXIES, "names of the scores that rank"),
        Option("defects", False, "score as its public code does"),
        *thin_options("28"),
    ),
    title="ETE-NAS",
    meaning="A score is the sum over the proxies of the relative loss when that "
    "operation alone is removed (Rumiantsev and Coates 2023, ETE-NAS, ICASSP).",
    reference="ETE-NAS, ICASSP 2023",
    part=CHANGE,
    below_zero=RISE,
)
