from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_jax.errors import DataError
from nas_jax.pruning import (
    marginal_ranks,
    relative_importance,
    sum_of_changes,
    sum_of_ranks,
)


def test_relative_importance_by_hand() -> None:
    # First ranker: (10 - 5) / 10 and (10 - 12) / 10. The second is negative; without
    # the first operation it falls by 2, which makes that operation important:
    # (-4 - -6) / |-4| = 0.5, and (-4 - -3) / 4 = -0.25.
    importance = relative_importance(
        np.array([10.0, -4.0]), np.array([[5.0, -6.0], [12.0, -3.0]])
    )
    np.testing.assert_allclose(importance, [[0.5, 0.5], [-0.2, -0.25]])


def test_relative_importance_of_float32_is_computed_in_float64() -> None:
    whole, without = np.float32([3.0]), np.float32([[1.0]])
    importance = relative_importance(whole, without)
    assert importance.dtype == np.float64
    assert importance[0, 0] == 2 / 3


def test_what_cannot_be_compared_is_nan() -> None:
    whole = np.array([np.nan, np.inf, 0.0, 2.0])
    importance = relative_importance(whole, np.array([[1.0, 1.0, 1.0, 1.0]]))
    np.testing.assert_array_equal(importance, [[np.nan, np.nan, np.nan, 0.5]])


def test_an_operation_without_which_a_score_is_not_finite_is_important() -> None:
    # Whatever the score's direction, and however a file kept it.
    inf = np.inf
    without = np.array([[inf, -inf, np.nan, inf]])
    importance = relative_importance(
        np.full(4, 2.0), without, np.array([-1.0, 1.0, -1.0, 1.0])
    )
    np.testing.assert_array_equal(importance, [[inf, inf, inf, inf]])
    # In one of two repeats.
    found = sum_of_changes(np.array([[[1.0], [1.0]], [[inf], [2.0]]]))
    np.testing.assert_array_equal(found.total, [inf, 1.5])
    assert np.isnan(found.spread[0]) and found.spread[1] == 0.5


def test_a_score_that_is_better_lower_counts_with_the_other_sign() -> None:
    # Without the first operation the condition number rises from 10 to 15: important.
    importance = relative_importance(
        np.array([10.0, 4.0]), np.array([[15.0, 3.0], [8.0, 5.0]]), np.array([-1.0, 1])
    )
    np.testing.assert_allclose(importance, [[0.5, 0.25], [-0.2, -0.25]])


def test_every_repeat_is_relative_to_its_own_whole() -> None:
    whole = np.array([[10.0], [20.0]])
    without = np.array([[[5.0], [10.0]], [[5.0], [20.0]]])
    importance = relative_importance(whole, without)
    np.testing.assert_allclose(importance, [[[0.5], [0.0]], [[0.75], [0.0]]])


def test_sum_of_changes_by_hand() -> None:
    # Two repeats, two operations, two rankers.
    changes = np.array([[[0.5, 0.1], [0.0, -0.2]], [[0.3, 0.1], [0.0, 0.2]]])
    found = sum_of_changes(changes)
    np.testing.assert_allclose(found.total, [0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.spread, [0.1, 0.2])
    np.testing.assert_allclose(found.parts, [[0.4, 0.1], [0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(found.parts_spread, [[0.1, 0.0], [0.0, 0.2]], atol=1e-12)


def test_sum_of_ranks_by_hand() -> None:
    # 0.1004 and 0.0996 are both 0.1 to three decimals and share a rank, which the next
    # larger follows without a gap.
    changes = np.array([[[0.1004, 3.0], [0.0996, -1.0], [0.5, 2.0], [-0.2, np.inf]]])
    found = sum_of_ranks(changes)
    np.testing.assert_array_equal(found.total, [1 + 2, 1 + 0, 2 + 1, 0 + 3])
    np.testing.assert_array_equal(found.spread, 0)
    np.testing.assert_array_equal(found.parts[:3, 0], [0.1, 0.1, 0.5])


def test_ranks_are_of_the_mean_over_repeats() -> None:
    changes = np.array([[[0.0], [1.0]], [[3.0], [1.0]]])
    found = sum_of_ranks(changes)
    np.testing.assert_array_equal(found.total, [1, 0])
    # Each repeat by itself ranks them the other way round.
    np.testing.assert_array_equal(found.spread, [0.5, 0.5])


def test_marginal_ranks_by_hand() -> None:
    # Four architectures, the better the later; ranks are -1, -1/3, 1/3 and 1. The
    # second ranker is better lower and says the opposite but for the failed one, which
    # is the worst of all for it.
    scores = np.array([[[1.0, np.nan], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]])
    member = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    found = marginal_ranks(scores, member, np.array([1.0, -1.0]))
    third = 1 / 3
    first = [(-1 + third) / 2, (-third + 1) / 2]
    second = [(-1 + third) / 2, (1 - third) / 2]
    np.testing.assert_allclose(found.parts, np.transpose([first, second]))
    np.testing.assert_allclose(found.total, np.add(first, second))


def test_equal_scores_share_the_mean_of_their_ranks() -> None:
    scores = np.array([[[5.0], [5.0], [7.0]]])
    found = marginal_ranks(scores, np.eye(3), np.ones(1))
    np.testing.assert_allclose(found.total, [-0.5, -0.5, 1.0])


@pytest.mark.parametrize(
    ("whole", "without"),
    [
        ((2,), (2,)),
        ((), (3, 2)),
        ((1,), (3, 2)),  # Would be compared with both scores.
        ((3,), (3, 2)),
        ((3, 2), (3, 2)),
        ((4, 2), (5, 3, 2)),
    ],
)
def test_scores_that_do_not_belong_together(
    whole: tuple[int, ...], without: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match=r"they must be \[..., scores\] and"):
        relative_importance(np.ones(whole), np.ones(without))


@pytest.mark.parametrize(
    "sign", [0.0, 2.0, np.nan, np.array([1.0, 0.5]), np.ones(3), np.ones((4, 1, 1))]
)
def test_signs_that_are_none(sign: np.ndarray | float) -> None:
    with pytest.raises(DataError, match="must be 1 or -1 for each of the 2 scores"):
        relative_importance(np.ones(2), np.ones((3, 2)), sign)
    with pytest.raises(DataError, match="sign"):
        marginal_ranks(np.ones((1, 3, 2)), np.eye(3), sign)  # type: ignore[arg-type]


def test_a_score_that_is_not_known_needs_no_sign() -> None:
    whole = np.array([0.0, np.nan, -2.0])
    found = relative_importance(whole, np.full((1, 3), -3.0), np.sign(whole))
    np.testing.assert_array_equal(found, [[np.nan, np.nan, -0.5]])


@pytest.mark.parametrize("combine", [sum_of_changes, sum_of_ranks])
@pytest.mark.parametrize("shape", [(3, 2), (2,), (1, 4, 3, 2)])
def test_changes_of_another_shape(combine: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"they must be \[repeats, N, R\]"):
        combine(np.ones(shape))


def test_members_that_are_none() -> None:
    scores = np.ones((1, 3, 2))
    with pytest.raises(DataError, match="members hold 0.5; they must be 0 or 1"):
        marginal_ranks(scores, np.full((3, 2), 0.5), np.ones(2))
    for members in (np.ones((2, 3)), np.ones(3), np.ones((1, 3, 2))):
        with pytest.raises(
            DataError, match=r"they must be \[repeats, A, R\], \[A, N\]"
        ):
            marginal_ranks(scores, members, np.ones(2))
