from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.data import (
    bilevel_epoch_order,
    bilevel_split,
    epoch_order,
    stratified_split,
)
from nas_jax.errors import DataError

SEEDS = st.integers(0, 2**40)
FRACTIONS = st.floats(0.01, 0.99)


def test_stratified_split_by_hand() -> None:
    # 0.3 of 10, 6 and 4 is 3, 1.8 and 1.2; ceil(0.3 * 20) = 6 places. The whole parts
    # take 3 + 1 + 1; the sixth place goes to the largest remainder, 0.8 of class 1.
    labels = np.repeat([0, 1, 2], [10, 6, 4])
    train, test = stratified_split(labels, 0.3, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[test]), [3, 2, 1])
    assert train.dtype == test.dtype == np.int32


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), FRACTIONS, SEEDS)
def test_stratified_split_keeps_shares(
    counts: list[int], fraction: float, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(0).permutation(labels)
    train, test = stratified_split(labels, fraction, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        num_test = np.count_nonzero(labels[test] == label)
        assert 1 <= num_test < count
        assert abs(num_test - fraction * count) < 1 + 1e-6
    again = stratified_split(labels, fraction, seed)
    np.testing.assert_array_equal(again[1], test)


def test_stratified_split_needs_two_of_each_class() -> None:
    with pytest.raises(DataError, match="class 1 has 1 examples.*at least 2"):
        stratified_split(np.array([0, 0, 1]), 0.5, seed=0)


def test_bilevel_split_by_hand() -> None:
    # floor(0.5 * 7) = 3 for the weights, 4 for the alphas, as DARTS cuts the list.
    weights, alphas = bilevel_split(7, 0.5, seed=0)
    assert (len(weights), len(alphas)) == (3, 4)
    assert weights.dtype == alphas.dtype == np.int32


@given(st.integers(2, 300), FRACTIONS, SEEDS)
def test_bilevel_split_shares_no_example(
    num_examples: int, fraction: float, seed: int
) -> None:
    if not 0 < int(round(num_examples * fraction, 9)) < num_examples:
        with pytest.raises(DataError, match="leaves no example for the weights"):
            bilevel_split(num_examples, fraction, seed)
        return
    weights, alphas = bilevel_split(num_examples, fraction, seed)
    assert not set(weights) & set(alphas)
    assert set(weights) | set(alphas) == set(range(num_examples))
    again, _ = bilevel_split(num_examples, fraction, seed)
    np.testing.assert_array_equal(again, weights)


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    SEEDS,
    st.integers(0, 1000),
)
def test_epoch_order_draws_each_example_at_most_once(
    num_examples: int, batch_size: int, seed: int, epoch: int
) -> None:
    indices = np.arange(100, 100 + num_examples)
    if batch_size > num_examples:
        with pytest.raises(
            DataError, match=f"{num_examples} examples .*batch_size={batch_size}"
        ):
            epoch_order(seed, epoch, indices, batch_size)
        return
    batches = epoch_order(seed, epoch, indices, batch_size)
    assert batches.dtype == np.int32
    assert batches.shape == (num_examples // batch_size, batch_size)
    assert len(set(batches.ravel())) == batches.size
    assert set(batches.ravel()) <= set(indices)
    np.testing.assert_array_equal(
        epoch_order(seed, epoch, indices, batch_size), batches
    )


def test_epoch_order_differs_by_seed_and_by_epoch() -> None:
    orders = {
        tuple(epoch_order(seed, epoch, np.arange(30), 30).ravel())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_epoch_order_is_the_same_on_every_machine() -> None:
    # Recorded once. A change here changes every run that is resumed.
    batches = epoch_order(1, 2, np.arange(8), 4)
    np.testing.assert_array_equal(batches, [[4, 6, 0, 1], [3, 2, 7, 5]])


def alpha_batches(
    num_weights: int, num_alphas: int, batch_size: int, epochs: int
) -> np.ndarray:
    weights, alphas = np.arange(num_weights), np.arange(1000, 1000 + num_alphas)
    return np.concatenate(
        [
            bilevel_epoch_order(0, epoch, weights, alphas, batch_size)[1]
            for epoch in range(epochs)
        ]
    )


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 5),
)
def test_alpha_batches_go_through_whole_passes(
    weight_steps: int, alpha_steps: int, batch_size: int
) -> None:
    # Both parts fill their batches, so a pass over the alphas is alpha_steps batches
    # and holds each of their examples once, wherever epochs begin and end.
    batches = alpha_batches(
        weight_steps * batch_size, alpha_steps * batch_size, batch_size, epochs=5
    )
    assert batches.shape == (5 * weight_steps, batch_size)
    examples = set(range(1000, 1000 + alpha_steps * batch_size))
    for start in range(0, len(batches) - alpha_steps + 1, alpha_steps):
        assert set(batches[start : start + alpha_steps].ravel()) == examples


def test_equal_parts_make_one_pass_each_and_are_ordered_independently() -> None:
    weights, alphas = np.arange(40), np.arange(40, 80)
    for epoch in range(3):
        first, second = bilevel_epoch_order(5, epoch, weights, alphas, 10)
        np.testing.assert_array_equal(first, epoch_order(5, epoch, weights, 10))
        assert set(second.ravel()) == set(alphas)
        # One order for both would pair the same two examples in every epoch.
        assert (second - 40 != first).any()


def test_bilevel_order_names_the_part_that_is_too_small() -> None:
    with pytest.raises(DataError, match="3 examples do not fill one batch"):
        bilevel_epoch_order(0, 0, np.arange(10), np.arange(3), 4)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.0, 0.0, 1.0, 1.0]), "dtype float64. Labels must be integers"),
        (np.array([False, False, True, True]), "dtype bool. Labels must be integers"),
        (np.eye(4, dtype=int), r"shape \(4, 4\). Labels must be \[N\]"),
        (np.array([0, 0, -1, -1]), "negative label -1"),
        (np.array([], int), "is empty"),
    ],
)
def test_stratified_split_refuses_what_are_no_labels(
    labels: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        stratified_split(labels, 0.5, seed=0)


@pytest.mark.parametrize("number", [10.0, np.arange(10), "10"])
def test_bilevel_split_needs_a_number_of_examples(number: Any) -> None:
    with pytest.raises(
        DataError, match="num_examples is of type .* must be an integer"
    ):
        bilevel_split(number, 0.5, seed=0)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.array([True, False, True, True]), r"of examples .* np.flatnonzero\(mask\)"),
        (np.array([0.0, 1.9, 2.2]), "have dtype float64 .* must be integers"),
        (np.arange(4).reshape(2, 2), r"shape \(2, 2\); they must be integers \[N\]"),
        (np.array([3, -1, 2]), "go from -1 to 3; they must be at least 0"),
        (
            np.array([0, 1, 1, 0]),
            "the 4 indices of examples repeat; each may come once",
        ),
    ],
)
def test_orders_refuse_what_are_no_indices(indices: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        epoch_order(0, 0, indices, 2)
    for parts in ((indices, np.arange(4)), (np.arange(4), indices)):
        with pytest.raises(DataError, match=message):
            bilevel_epoch_order(0, 0, *parts, 2)
