"""Combined scores by hand: directions, ties and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.proxies import failures, majority_vote, rank_sum, z_score_sum

# Of ntk_cond lower is better.
SCORES = {
    "synflow": [1.0, 5.0, 3.0, 3.0],
    "ntk_cond": [10.0, 20.0, 30.0, 40.0],
    "jacov": [2.0, 9.0, 9.0, 1.0],
}
ALL = (rank_sum, z_score_sum, majority_vote)


def test_rank_sum_by_hand() -> None:
    # 1 4 2.5 2.5; 4 3 2 1; 2 3.5 3.5 1
    np.testing.assert_array_equal(rank_sum(SCORES), [7, 10.5, 8, 4.5])


def test_z_score_sum_by_hand() -> None:
    # mean 3, std sqrt(2); mean 25, std sqrt(125), turned around.
    scores = {name: SCORES[name] for name in ("synflow", "ntk_cond")}
    synflow = np.array([-2, 2, 0, 0]) / np.sqrt(2)
    condition = np.array([15, 5, -5, -15]) / np.sqrt(125)
    np.testing.assert_allclose(z_score_sum(scores), synflow + condition)
    scores["params"] = [7.0] * 4
    np.testing.assert_allclose(z_score_sum(scores), synflow + condition)


def test_majority_vote_by_hand() -> None:
    # 0 and 1: synflow and jacov for 1, ntk_cond for 0. 0 and 2: likewise 2.
    # 0 and 3: synflow for 3, the others for 0. 1 and 2: synflow and ntk_cond for 1.
    # 1 and 3: all for 1. 2 and 3: ntk_cond and jacov for 2.
    np.testing.assert_array_equal(majority_vote(SCORES), [1, 3, 2, 0])


def test_two_voters_may_tie() -> None:
    scores = {"synflow": [1.0, 2.0, 3.0], "snip": [2.0, 1.0, 3.0]}
    np.testing.assert_array_equal(majority_vote(scores), [0.5, 0.5, 2])


@pytest.mark.parametrize("combine", ALL)
def test_a_failed_score_ranks_nothing(combine: Any) -> None:
    failed = {name: [*scores, 4.0] for name, scores in SCORES.items()}
    for bad in (np.nan, np.inf, -np.inf):
        failed["ntk_cond"][4] = bad
        combined = combine(failed)
        assert np.isnan(combined[4])
        np.testing.assert_allclose(combined[:4], combine(SCORES))
    assert np.isnan(combine({"snip": [np.nan, np.nan]})).all()


@pytest.mark.parametrize("combine", ALL)
def test_one_proxy_keeps_its_order(combine: Any) -> None:
    values = np.random.default_rng(0).normal(size=20)
    order = np.argsort(values)
    np.testing.assert_array_equal(np.argsort(combine({"snip": values})), order)
    np.testing.assert_array_equal(
        np.argsort(combine({"ntk_cond": values})), order[::-1]
    )


@pytest.mark.parametrize("combine", ALL)
def test_bad_input(combine: Any) -> None:
    with pytest.raises(ConfigError, match="unknown proxy 'snap'"):
        combine({"snap": [1.0]})
    with pytest.raises(ConfigError, match="no proxies to combine"):
        combine({})
    with pytest.raises(ConfigError, match=r"\{'snip': 2, 'params': 1\}"):
        combine({"snip": [1.0, 2.0], "params": [1.0]})


def test_failures_say_why() -> None:
    scores = np.array([1.0, np.nan, np.inf, -np.inf, -1e8], np.float32)
    good, nan, high, low, number = failures(scores)
    assert good is None and number is None
    assert nan is not None and nan.startswith("not a number")
    assert high is not None and high.startswith("infinite")
    assert low is not None and low.startswith("minus infinity")
