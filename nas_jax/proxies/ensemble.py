"""One score of an architecture from several proxies.

All take the scores of N architectures by proxy name and return `[N]` float64 where
higher is better, whatever the proxies' directions. An architecture that any of them
failed on has no combined score: it is NaN, and the others are ranked without it.
"""

from __future__ import annotations

from collections.abc import Mapping

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

    Raises:
        ConfigError: On an unknown proxy, none at all, or columns that are not `[N]` or
            differ in length.
    """
    values, complete = _oriented(scores)
    ranks = [average_ranks(column) for column in values[complete].T]
    return _spread(np.sum(ranks, axis=0), complete)


def z_score_sum(scores: Scores) -> np.ndarray:
    """Sum over proxies of (score - mean) / standard deviation.

    A proxy that scores all the same adds 0. Standard scores, so that no proxy outweighs
    another by its units (the concern of Abdelfattah et al. 2021, arXiv 2101.08134, who
    vote instead).

    Raises:
        ConfigError: On an unknown proxy, none at all, or columns that are not `[N]` or
            differ in length.
    """
    values, complete = _oriented(scores)
    kept = values[complete]
    if not len(kept):
        return _spread(np.zeros(0), complete)
    deviation = kept.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    return _spread(((kept - kept.mean(axis=0)) / scale).sum(axis=1), complete)


def majority_vote(scores: Scores) -> np.ndarray:
    """Number of architectures that it beats, a tie counting a half.

    Of two architectures the one that more proxies prefer wins. Abdelfattah et al. 2021
    (arXiv 2101.08134), vote of synflow, jacob_cov and snip.

    Raises:
        ConfigError: On an unknown proxy, none at all, or columns that are not `[N]` or
            differ in length.
    """
    values, complete = _oriented(scores)
    kept = values[complete]
    wins = np.zeros(len(kept))
    # Row by row: all pairs of a space of 15,625 architectures at once are too many.
    for i, row in enumerate(kept):
        lead = np.sum(row > kept, axis=1) - np.sum(row < kept, axis=1)
        wins[i] = np.sum(lead > 0) + (np.sum(lead == 0) - 1) / 2
    return _spread(wins, complete)


def _oriented(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Scores `[N, proxies]`, higher is better, and where all of a row are finite."""
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
    return values, np.asarray(np.isfinite(values).all(axis=1))


def _spread(combined: np.ndarray, complete: np.ndarray) -> np.ndarray:
    result = np.full(len(complete), np.nan)
    result[complete] = combined
    return result
