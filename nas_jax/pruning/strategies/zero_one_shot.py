"""Zero-One-Shot pruning (Rumiantsev and Coates 2025, arXiv 2505.13586)."""

from __future__ import annotations

from collections.abc import Sequence

from nas_jax.pruning.rankers import Ranker, SupernetSize
from nas_jax.pruning.strategies.leave_one_out import CHANGE, RISE, LeaveOneOut
from nas_jax.pruning.strategy import (
    Option,
    of_supernet,
    register_strategy,
    scoring_options,
)

DEFAULT_PROXIES = ("nwot", "logsynflow")
"""Rankers of `zero_one_shot`; the paper does not name its own."""


def zero_one_shot(
    size: SupernetSize,
    *,
    proxies: Sequence[str] = DEFAULT_PROXIES,
    batch_size: int = 64,
    repeats: int = 3,
    rounds: int = 1,
) -> LeaveOneOut:
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
    rankers = tuple(Ranker(name, size, batch_size) for name in proxies)
    return LeaveOneOut("zero_one_shot", rankers, repeats, rounds=rounds)


register_strategy(
    "zero_one_shot",
    of_supernet(zero_one_shot),
    options=(
        Option("proxies", DEFAULT_PROXIES, "names of the scores that rank"),
        Option("rounds", 1, "rounds of scoring and removing"),
        *scoring_options(64, 3),
    ),
    title="Zero-One-Shot",
    meaning="A score is the sum over the proxies r of the relative loss when that "
    "operation alone is removed from the untrained supernet, "
    "(r(N) − r(N∖e)) / |r(N)| (Rumiantsev and Coates 2025, arXiv 2505.13586, "
    "importance score).",
    reference="arXiv 2505.13586",
    part=CHANGE,
    below_zero=RISE,
)
