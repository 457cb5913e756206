"""One score of an architecture from several proxies.

All take the scores of N architectures by proxy name and return `[N]` float64 where
higher is better, whatever the proxies' directions. An architecture that any of them
failed on has no combined score: it is NaN, and the others are ranked without it.

All raise ConfigError on an unknown proxy, none at all, or columns that are not `[N]` or
differ in length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from nas_jax.errors import ConfigError
from nas_jax.proxies.proxy import get_proxy
from nas_jax.tabular.ranks import average_ranks

Scores = Mapping[str, ArrayLike]


def rank_sum(scores: Scores) -> np.ndarray:
    """Sum over proxies of the rank, 1 for the worst; equal scores share their mean.

    Chen et al. 2021 (TE-NAS, arXiv 2102.11535), section 3.2, where lower ranks are
    better.
    """
    return _combined(
        scores, lambda kept: np.sum([average_ranks(c) for c in kept.T], axis=0)
    )


def z_score_sum(scores: Scores) -> np.ndarray:
    """Sum over proxies of (score - mean) / standard deviation.

    A proxy that scores all the same adds 0. Standard scores, so that no proxy outweighs
    another by its units (the concern of Abdelfattah et al. 2021, arXiv 2101.08134, who
    vote instead).
    """

    def rule(kept: np.ndarray) -> np.ndarray:
        deviation = kept.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)
        total: np.ndarray = ((kept - kept.mean(axis=0)) / scale).sum(axis=1)
        return total

    return _combined(scores, rule)


def majority_vote(scores: Scores) -> np.ndarray:
    """Number of architectures that it beats, a tie counting a half.

    Of two architectures the one that more proxies prefer wins. Abdelfattah et al. 2021
    (arXiv 2101.08134), vote of synflow, jacob_cov and snip.
    """

    def rule(kept: np.ndarray) -> np.ndarray:
        wins = np.zeros(len(kept))
        # Row by row: all pairs of a space of 15,625 architectures are too many.
        for i, row in enumerate(kept):
            lead = np.sum(row > kept, axis=1) - np.sum(row < kept, axis=1)
            wins[i] = np.sum(lead > 0) + (np.sum(lead == 0) - 1) / 2
        return wins

    return _combined(scores, rule)


def _combined(scores: Scores, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A rule of `[N, proxies]`, higher is better, for rows that are all finite."""
    if not scores:
        raise ConfigError("no proxies to combine; give the scores of at least one")
    signs = [1.0 if get_proxy(name).higher_is_better else -1.0 for name in scores]
    columns = [np.asarray(column, np.float64) for column in scores.values()]
    for name, column in zip(scores, columns, strict=True):
        if column.ndim != 1:
            raise ConfigError(
                f"the scores of {name} have shape {column.shape}; give [N], one for "
                "each architecture"
            )
    lengths = {name: len(c) for name, c in zip(scores, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ConfigError(
            f"the proxies scored different numbers of architectures: {lengths}; give "
            "one score for each, NaN where it failed"
        )
    values = np.stack(columns, axis=1) * signs
    complete = np.isfinite(values).all(axis=1)
    combined = np.full(len(values), np.nan)
    if complete.any():
        combined[complete] = rule(values[complete])
    return combined
