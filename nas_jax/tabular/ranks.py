"""Ranks, and rank correlation of weighted pairs: a weight counts how often one occurs.

A bootstrap sample is the same pairs with other weights, so whatever depends on their
order alone is worked out once for all samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps weights, int64 `[B, n]`, to a statistic of each row, float64 `[B]`; NaN where it
is undefined."""


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks `[n]` from 1, the lowest; equal values share the mean of theirs."""
    _, starts, groups = _order(values)
    return _group_ranks(np.diff(starts, append=len(values))[None])[0, groups]


def _group_ranks(counts: np.ndarray) -> np.ndarray:
    """Average rank, from 1, of each of G ascending groups of equal values, `[B, G]`."""
    ranks: np.ndarray = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return ranks


def _group_sums(weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The weights of the groups that begin at `starts`: `[B, n]` to `[B, groups]`."""
    sums: np.ndarray = np.add.reduceat(weights, starts, axis=1)
    return sums


def _order(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order, where in it groups of equal values start, and the group of each."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.argsort(groups, kind="stable"), np.cumsum(counts) - counts, groups


def spearman_rho(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Spearman's rho (Spearman 1904): Pearson's correlation of the average ranks.

    Both are finite numbers `[n]`.
    """
    orders = (_order(x), _order(y))

    def statistic(weights: np.ndarray) -> np.ndarray:
        # With the mean rank taken off, the sums of squares need no correction.
        mean = (weights.sum(axis=1, keepdims=True) + 1) / 2
        centred, squares = [], []
        for order, starts, groups in orders:
            counts = _group_sums(weights[:, order], starts)
            ranks = _group_ranks(counts) - mean
            centred.append(np.take(ranks, groups, axis=1))
            squares.append(np.einsum("bg,bg,bg->b", counts, ranks, ranks))
        product = np.einsum("bn,bn,bn->b", weights, *centred)
        return _ratio(product, squares[0], squares[1])

    return statistic


def kendall_tau_b(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Kendall's tau-b (Kendall 1945), by Knight's O(n log n) method (Knight 1966).

    Concordant less discordant pairs, divided by the geometric mean of the numbers of
    pairs that differ in x and in y, which are finite numbers `[n]`.
    """
    # Within equal x, y ascends: no pair that ties in x is an inversion of y.
    order = np.lexsort((y, x))
    _, starts_x, groups_x = _order(x[order])
    order_y, starts_y, groups_y = _order(y[order])
    both = groups_x * len(starts_y) + groups_y
    starts_both = _order(both)[1]
    discordant = inversions(groups_y)

    def statistic(weights: np.ndarray) -> np.ndarray:
        ordered = weights[:, order]
        pairs = _pairs(ordered.sum(axis=1, keepdims=True))
        tied_x = _pairs(_group_sums(ordered, starts_x))
        tied_y = _pairs(_group_sums(ordered[:, order_y], starts_y))
        tied_both = _pairs(_group_sums(ordered, starts_both))
        untied = pairs - tied_x - tied_y + tied_both
        surplus = untied - 2 * discordant(ordered)
        return _ratio(surplus, pairs - tied_x, pairs - tied_y)

    return statistic


def inversions(values: np.ndarray) -> Statistic:
    """The weight of the pairs i < j with values[i] > values[j], by merging.

    `values` are integers from 0, `[n]`.
    """
    n = len(values)
    positions = np.arange(n)
    order, size, merges = positions, 1, []
    while size < n:
        # Blocks of this size are sorted by now; two neighbours become one. Equal values
        # of the left block come first, as they are no inversion.
        block = positions // (2 * size)
        merged = np.argsort(block * (values.max() + 1) + values[order], kind="stable")
        place = np.empty(n, np.int64)
        place[merged] = positions
        middle = (2 * block + 1) * size
        left = np.flatnonzero((positions < middle) & (middle < n))
        start = middle[left]
        # What a value of the left block moves is the number of smaller right ones.
        merges.append((order, left, start, start + place[left] - left))
        order, size = order[merged], 2 * size

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = np.zeros(len(weights), np.float64)
        sums = np.zeros((len(weights), n + 1), np.float64)
        for order, left, start, end in merges:
            ordered = np.take(weights, order, axis=1)
            np.cumsum(ordered, axis=1, out=sums[:, 1:])
            smaller = np.take(sums, end, axis=1) - np.take(sums, start, axis=1)
            total += np.einsum("bn,bn->b", np.take(ordered, left, axis=1), smaller)
        return total

    return statistic


def _pairs(counts: np.ndarray) -> np.ndarray:
    """The number of pairs within groups of `counts` members, summed over the groups."""
    return (counts * (counts - 1) / 2).sum(axis=1)


def _ratio(product: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """product / sqrt(first * second), at most 1 in size; NaN where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = product / (np.sqrt(first) * np.sqrt(second))
    return np.clip(ratio, -1.0, 1.0)
