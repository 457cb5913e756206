"""How important an operation is, from what its removal does to scores."""

from __future__ import annotations

import dataclasses

import numpy as np

from nas_jax.errors import DataError
from nas_jax.tabular.ranks import average_ranks


@dataclasses.dataclass(frozen=True)
class Importance:
    """The importance of N operations by R rankers; more important is higher.

    Attributes:
        total: What operations are kept for, `[N]` float64; infinite where a score is
            not finite without the operation.
        spread: Standard deviation of `total` over repeats, `[N]`.
        parts: Each ranker's own figure, mean over repeats, `[N, R]`.
        parts_spread: Its standard deviation over repeats, `[N, R]`.
    """

    total: np.ndarray
    spread: np.ndarray
    parts: np.ndarray
    parts_spread: np.ndarray


def relative_importance(
    whole: np.ndarray, without: np.ndarray, sign: np.ndarray | float = 1.0
) -> np.ndarray:
    """sign * (r(N) - r(N \\ e)) / |r(N)| for each candidate e and score r.

    Rumiantsev and Coates 2025 (arXiv 2505.13586), importance score. The paper divides
    by r(N); with a negative score that would turn the order around, hence |r(N)|.

    Args:
        whole: `[..., scores]`, of the network with everything alive.
        without: `[..., candidates, scores]`, with one operation removed.
        sign: 1 where a higher score is better, -1 where a lower one is; `[scores]`.

    Returns:
        `[..., candidates, scores]` float64. Infinite where a score is not finite
        without an operation: the network cannot do without it. NaN where r(N) is not
        finite or 0.

    Raises:
        DataError: The shapes do not belong together, or a sign is not 1 or -1.
    """
    whole, without = np.asarray(whole, np.float64), np.asarray(without, np.float64)
    if without.ndim < 2 or whole.shape != without.shape[:-2] + without.shape[-1:]:
        raise DataError(
            f"scores of the whole network have shape {whole.shape}, and those without "
            f"an operation {without.shape}; they must be [..., scores] and "
            "[..., candidates, scores]"
        )
    known = (np.isfinite(whole) & (whole != 0))[..., None, :]
    _check_sign(sign, without.shape, known)
    whole = np.where(known, whole[..., None, :], np.nan)
    broken = ~np.isfinite(without)
    change = sign * (whole - np.where(broken, 0, without)) / np.abs(whole)
    return np.where(broken & ~np.isnan(whole), np.inf, change)


def sum_of_changes(changes: np.ndarray) -> Importance:
    """The sum over rankers, mean over repeats (arXiv 2505.13586, s_j).

    Args:
        changes: `relative_importance` of each repeat, `[repeats, N, R]`.

    Raises:
        DataError: They have another shape.
    """
    _check_changes(changes)
    return Importance(*_over_repeats(changes.sum(-1)), *_over_repeats(changes))


def sum_of_ranks(changes: np.ndarray) -> Importance:
    """The sum over rankers of the rank of the mean change (TE-NAS).

    Chen et al. 2021 (arXiv 2102.11535), algorithm 1; prune_tenas.py rounds each change
    to three decimals and lets equal changes share a rank. A rank is of all candidates
    together, 0 for the least important.

    Args:
        changes: `relative_importance` of each repeat, `[repeats, N, R]`.

    Raises:
        DataError: They have another shape.
    """
    _check_changes(changes)
    rounded = np.round(changes, 3)
    parts, parts_spread = _over_repeats(rounded)
    single = np.stack([_shared_ranks(repeat).sum(-1) for repeat in rounded])
    total = _shared_ranks(parts).sum(-1)
    return Importance(total, single.std(0), parts, parts_spread)


def marginal_ranks(
    scores: np.ndarray, members: np.ndarray, sign: np.ndarray
) -> Importance:
    """The mean rank of the architectures that have an operation, summed over rankers.

    Ranks are centred and scaled to -1 (the worst architecture) to 1 (the best); one
    whose score is not finite has the lowest rank.

    Args:
        scores: Of A architectures, `[repeats, A, R]`.
        members: 0/1, whether an architecture has an operation, `[A, N]`.
        sign: 1 where a higher score is better, -1 where a lower one is; `[R]`.

    Raises:
        DataError: The shapes do not belong together, a member is not 0 or 1, or a sign
            is not 1 or -1.
    """
    shapes = np.shape(scores), np.shape(members), np.shape(sign)
    of_scores, of_members, of_sign = shapes
    fit = list(map(len, shapes)) == [3, 2, 1]
    if not fit or of_scores[1:] != (of_members[0], *of_sign):
        raise DataError(
            f"scores, members and sign have the shapes {of_scores}, {of_members} and "
            f"{of_sign}; they must be [repeats, A, R], [A, N] and [R]"
        )
    members = np.asarray(members)
    other = members[(members != 0) & (members != 1)]
    if other.size:
        raise DataError(
            f"members hold {other[0]!s}; they must be 0 or 1: whether an architecture "
            "has an operation"
        )
    _check_sign(sign, of_scores)
    oriented = np.nan_to_num(sign * scores, nan=-np.inf, posinf=-np.inf, neginf=-np.inf)
    count = scores.shape[1]
    ranks = np.apply_along_axis(average_ranks, 1, oriented)
    centred = 2 * (ranks - 1) / max(count - 1, 1) - 1
    with np.errstate(invalid="ignore"):
        marginal = np.einsum("an,par->pnr", members, centred) / members.sum(0)[:, None]
    return sum_of_changes(marginal)


def _check_sign(
    sign: np.ndarray | float, shape: tuple[int, ...], known: np.ndarray | bool = True
) -> None:
    """Refuses signs of another shape, or that are not 1 or -1 where it matters."""
    signs = np.asarray(sign, np.float64)
    try:
        fits = np.broadcast_shapes(signs.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits or np.any((np.abs(signs) != 1) & known):
        raise DataError(
            f"sign is {signs.tolist()}; it must be 1 or -1 for each of the "
            f"{shape[-1]} scores"
        )


def _check_changes(changes: np.ndarray) -> None:
    if np.ndim(changes) != 3:
        raise DataError(
            f"changes have shape {np.shape(changes)}; they must be [repeats, N, R]"
        )


def _over_repeats(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the first axis, NaN where one is infinite."""
    with np.errstate(invalid="ignore"):
        return values.mean(0), values.std(0)


def _shared_ranks(values: np.ndarray) -> np.ndarray:
    """How many different values are smaller, column by column."""
    # Means of equal numbers differ in their last digits.
    columns = np.round(values, 9).T
    ranks = [np.unique(column, return_inverse=True)[1] for column in columns]
    return np.stack(ranks, axis=-1).astype(np.float64)
