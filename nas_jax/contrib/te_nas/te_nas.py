"""TE-NAS' pruning (Chen et al. 2021, arXiv 2102.11535)."""

from __future__ import annotations

from nas_jax.contrib.te_nas.network import Initialisation, ThinNetwork
from nas_jax.errors import ConfigError
from nas_jax.networks import family_of
from nas_jax.proxies import linear_regions_proxy
from nas_jax.pruning import (
    LeaveOneOut,
    Option,
    Ranker,
    SupernetSize,
    register_strategy,
    sum_of_ranks,
)
from nas_jax.pruning.rankers import BuildNetwork
from nas_jax.pruning.strategies.leave_one_out import CHANGE
from nas_jax.spaces import SearchSpace

REGION_IMAGES = 256
"""Images that crops for counting regions are cut out of."""
TE_NAS_REGIONS = linear_regions_proxy("te_nas_regions", size=3, batches=3, depth=1)
"""TE-NAS' 3,000 crops of 3x3 pixels of one channel, in 3 batches."""
THIN_CELLS = 2
"""Cells of a thin network of the DARTS space."""
ROWS_AT_ONCE = 16
"""Cotangents side by side: TE-NAS has 14 images, and a thin network is small."""


def staged(space: SearchSpace) -> bool:
    """Whether a space's networks have stages, and its supernet is thin enough."""
    return family_of(space).stages > 1


def removed_at_once(space: SearchSpace) -> int:
    """Operations of an edge that a round removes (prune_tenas.py, prune_number)."""
    return 1 if staged(space) else 3


def te_nas(
    space: SearchSpace,
    *,
    channels: int = 0,
    layers: int = 0,
    batch_size: int = 0,
    repeats: int = 3,
) -> LeaveOneOut:
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
    bench = staged(space)
    kernel, bare = thin_networks(space, channels, layers)
    rankers = (
        Ranker(
            "ntk_cond",
            kernel,
            batch_size or (72 if bench else 14),
            rows_at_once=1 if bench else ROWS_AT_ONCE,
        ),
        Ranker("linear_regions" if bench else TE_NAS_REGIONS, bare, REGION_IMAGES),
    )
    step = removed_at_once(space)
    return LeaveOneOut("te_nas", rankers, repeats, sum_of_ranks, step=step)


def thin_networks(
    space: SearchSpace,
    channels: int,
    layers: int,
    initialisation: Initialisation = "default",
) -> tuple[BuildNetwork, BuildNetwork]:
    """The network of kernels, and the one without a stem whose regions are counted.

    Raises:
        ConfigError: If a thin network of the DARTS space is to have other than 2 cells.
    """
    if staged(space):
        kernel, regions = (SupernetSize(channels or c, layers or 1) for c in (3, 1))
        return kernel, regions
    if layers not in (0, THIN_CELLS):
        raise ConfigError(
            f"prune.layers is {layers}, and the thin networks of te_nas and ete_nas "
            f"have {THIN_CELLS} cells, a normal and a reduction cell; give 0"
        )
    whole, bare = (
        ThinNetwork(channels or 1, stem, initialisation) for stem in (True, False)
    )
    return whole, bare


def thin_options(batch_size: str) -> tuple[Option, ...]:
    """Options of both strategies, with the default of one."""
    return (
        Option("channels", "1 (3 for kernels in NAS-Bench-201)", "first channels"),
        Option("layers", "2 (1 a stage in NAS-Bench-201)", "cells of a network"),
        Option("batch_size", batch_size, "images of a kernel"),
        Option("repeats", 3, "weights and batches that a score is averaged over"),
    )


register_strategy(
    "te_nas",
    te_nas,
    options=thin_options("14 (72 in NAS-Bench-201)"),
    title="TE-NAS",
    meaning="A score is the sum of two ranks among all operations of the round, 0 for "
    "the least important: by how much the condition number of the neural tangent "
    "kernel worsens, and how many linear regions are lost, when that operation alone "
    "is removed (Chen et al. 2021, arXiv 2102.11535, algorithm 1).",
    reference="arXiv 2102.11535",
    part=CHANGE + ", which is what is ranked",
)
