"""Rank correlations against hand-counted values, brute force and published figures."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.errors import ConfigError, DataError
from nas_jax.tabular import Correlation, kendall, load_table, spearman
from nas_jax.tabular.correlation import percentile_interval
from nas_jax.tabular.ranks import inversions, kendall_tau_b, spearman_rho

Measure = Callable[..., Correlation]
MEASURES = [spearman, kendall]


def brute_tau_b(x: np.ndarray, y: np.ndarray) -> float:
    """Counts every pair, as the definition says."""
    surplus = differ_x = differ_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        sign_x, sign_y = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        surplus += sign_x * sign_y
        differ_x += sign_x != 0
        differ_y += sign_y != 0
    below = np.sqrt(float(differ_x * differ_y))
    return float(surplus / below) if below else np.nan


def brute_rho(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation of ranks; a rank counts those below and half the equals."""

    def ranks(values: np.ndarray) -> np.ndarray:
        below = (values[None] < values[:, None]).sum(1)
        equal = (values[None] == values[:, None]).sum(1)
        return below + (equal + 1) / 2

    rx, ry = ranks(x), ranks(y)
    if np.ptp(rx) == 0 or np.ptp(ry) == 0:
        return np.nan
    return float(np.corrcoef(rx, ry)[0, 1])


@pytest.mark.parametrize(
    ("x", "y", "rho", "tau"),
    [
        # Sum of squared rank differences 4: 1 - 6 * 4 / (5 * 24); 2 of 10 pairs swap.
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8, 0.6),
        # Ranks 1.5 1.5 3 4 and 1 2.5 2.5 4: 3.75 / 4.5. Of 6 pairs 4 are concordant,
        # one ties in x and one in y: 4 / 5.
        ([1, 1, 2, 3], [1, 2, 2, 3], 3.75 / 4.5, 0.8),
        # 1 ties in both; 2 concordant of 5 and 5 that differ in x and in y; no other.
        ([7, 7, 9], [3, 3, 1], -1.0, -1.0),
        ([1, 2], [1, 2], 1.0, 1.0),
        ([1, 2, 3], [1, 3, 1], 0.0, 0.0),
    ],
)
def test_hand_counted(x: list[int], y: list[int], rho: float, tau: float) -> None:
    assert spearman(x, y).value == pytest.approx(rho)
    assert kendall(x, y).value == pytest.approx(tau)


small = st.integers(-3, 3)
pairs = st.lists(st.tuples(small, small), min_size=2, max_size=20)


@settings(deadline=None)
@given(pairs)
def test_agrees_with_brute_force_with_many_ties(rows: list[tuple[int, int]]) -> None:
    x, y = np.array(rows, np.float64).T
    rho, tau = spearman(x, y, samples=1).value, kendall(x, y, samples=1).value
    assert rho == pytest.approx(brute_rho(x, y), nan_ok=True)
    assert tau == pytest.approx(brute_tau_b(x, y), nan_ok=True)


@settings(deadline=None)
@given(pairs, st.data())
def test_a_weight_is_a_repetition(
    rows: list[tuple[int, int]], data: st.DataObject
) -> None:
    x, y = np.array(rows, np.float64).T
    counts = st.lists(st.integers(0, 3), min_size=len(x), max_size=len(x))
    weights = np.array([data.draw(counts), data.draw(counts)], np.int64)
    for statistic, brute in (
        (spearman_rho(x, y), brute_rho),
        (kendall_tau_b(x, y), brute_tau_b),
    ):
        for found, repeats in zip(statistic(weights), weights, strict=True):
            again = [np.repeat(values, repeats) for values in (x, y)]
            expected = brute(*again) if repeats.sum() else np.nan
            assert found == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_inversions_by_merging(values: list[int]) -> None:
    expected = sum(a > b for a, b in itertools.combinations(values, 2))
    ones = np.ones((1, len(values)), np.int64)
    assert inversions(np.array(values))(ones) == [expected]


@pytest.mark.parametrize("measure", MEASURES)
@given(rows=st.lists(st.tuples(small, small), min_size=3, max_size=30))
@settings(deadline=None, max_examples=30)
def test_invariances(measure: Measure, rows: list[tuple[int, int]]) -> None:
    x, y = np.array(rows, np.float64).T
    found = measure(x, y, samples=20)
    # An increasing map changes nothing, not even the interval.
    assert repr(measure(np.exp(x), y**3, samples=20)) == repr(found)
    flipped = measure(-x, y, samples=20)
    assert flipped.value == pytest.approx(-found.value, nan_ok=True)
    assert flipped.low == pytest.approx(-found.high, nan_ok=True)
    assert flipped.high == pytest.approx(-found.low, nan_ok=True)
    swapped = measure(y, x, samples=20)
    assert swapped.value == pytest.approx(found.value, nan_ok=True)
    if np.ptp(x):
        assert measure(x, x, samples=1).value == pytest.approx(1.0)


@pytest.mark.parametrize("measure", MEASURES)
def test_failed_scores_are_counted_and_never_ranked(measure: Measure) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50))
    clean = measure(x, y)
    assert (clean.used, clean.failed) == (50, 0)
    for bad in (np.nan, np.inf, -np.inf):
        with_bad = measure(np.append(x, [bad, 0.0]), np.append(y, [0.0, bad]))
        assert with_bad == dataclasses.replace(clean, failed=2)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("x", "y", "used"),
    [
        ([], [], 0),
        ([1.0], [1.0], 1),
        ([1.0, np.nan], [1.0, 2.0], 1),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], 3),
        ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0], 3),
    ],
)
def test_undefined_is_nan(
    measure: Measure, x: list[float], y: list[float], used: int
) -> None:
    found = measure(x, y)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert (found.used, found.failed) == (used, len(x) - used)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        # Each sample of two rows that is defined has the correlation of the two.
        ([1, 2], [1, 2], "too few"),
        ([1, 2, 3], [1, 3, 2], "too few"),
        ([1, 2, 3, np.nan], [1, 3, 2, 4], "too few"),
        # However many rows: samples of a perfect order are perfectly ordered.
        ([1, 2, 3, 4], [1, 2, 3, 4], "no spread"),
        (range(50), range(0, -50, -1), "no spread"),
        ([1, 1, 2, 2], [3, 3, 5, 5], "no spread"),
        ([1, 2, 3, 4], [1, 2, 4, 3], ""),
        ([1, 1, 1, 1], [1, 2, 3, 4], "undefined"),
        ([1], [1], "undefined"),
    ],
)
def test_no_interval_where_the_samples_cannot_tell(
    measure: Measure, x: list[float], y: list[float], why: str
) -> None:
    found = measure(x, y)
    assert found.lacks_interval == why
    assert np.isnan(found.value) == (why == "undefined")
    assert np.isnan([found.low, found.high]).all() == bool(why)
    if not why:
        assert found.low < found.value <= found.high


@pytest.mark.parametrize("measure", MEASURES)
def test_one_sample_is_no_interval(measure: Measure) -> None:
    rng = np.random.default_rng(0)
    assert measure(*rng.normal(size=(2, 50)), samples=1).lacks_interval == "no spread"


@pytest.mark.parametrize("measure", MEASURES)
def test_interval_is_that_of_the_resampled_rows(measure: Measure) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    y = np.round(x + rng.normal(size=30), 1)
    brute = brute_rho if measure is spearman else brute_tau_b
    # Other samples than the package draws: the ends agree as far as chance lets them.
    values = []
    for _ in range(2000):
        rows = rng.integers(30, size=30)
        values.append(brute(x[rows], y[rows]))
    low, high = np.quantile(values, [0.05, 0.95])
    found = measure(x, y, samples=4000, level=0.9, seed=5)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    assert found.low < found.value < found.high
    assert found.level == 0.9


def test_percentiles_of_the_statistics_of_all_samples() -> None:
    seen = []

    def statistic(weights: np.ndarray) -> np.ndarray:
        seen.append(weights)
        return weights[:, 0].astype(np.float64)

    low, high = percentile_interval(statistic, 7, 50, seed=3, level=0.8)
    weights = np.concatenate(seen)
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all() and (weights >= 0).all()
    assert len(np.unique(weights, axis=0)) > 40
    assert (low, high) == tuple(np.quantile(weights[:, 0], [0.1, 0.9]))


@pytest.mark.parametrize("measure", MEASURES)
def test_intervals_cover_the_truth_about_as_often_as_they_say(measure: Measure) -> None:
    rng = np.random.default_rng(7)
    # Of independent numbers both correlations are 0.
    found = [measure(*rng.normal(size=(2, 60)), samples=200) for _ in range(200)]
    covered = sum(one.low <= 0 <= one.high for one in found)
    assert 0.89 <= covered / 200 <= 0.99
    wide = [one.high - one.low for one in found]
    narrow = measure(*rng.normal(size=(2, 960)), samples=200)
    # 16 times the rows, a quarter of the width.
    assert narrow.high - narrow.low == pytest.approx(np.mean(wide) / 4, rel=0.2)


@pytest.mark.parametrize("measure", MEASURES)
def test_seed_and_level(measure: Measure) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 40))
    first = measure(x, y, seed=1)
    assert measure(x, y, seed=1) == first
    assert measure(x, y, seed=2) != first
    narrow = measure(x, y, seed=1, level=0.5)
    assert first.low < narrow.low < narrow.high < first.high


@pytest.mark.parametrize("measure", MEASURES)
def test_wrong_arguments(measure: Measure) -> None:
    with pytest.raises(DataError, match="x has 2 numbers and y has 3"):
        measure([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match=r"y has the shape \(1, 2\)"):
        measure([1, 2], [[1, 2]])
    with pytest.raises(DataError, match="x is not a list of numbers"):
        measure(["a", "b"], [1, 2])
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match=f"level is {level}"):
            measure([1, 2], [1, 2], level=level)
    with pytest.raises(ConfigError, match="samples is 0"):
        measure([1, 2], [1, 2], samples=0)


PUBLISHED = {
    "nwot": 0.811,
    "jacov": 0.799,
    "params": 0.799,
    "synflow": 0.778,
    "epe_nas": 0.772,
    "flops": 0.770,
    "l2_norm": 0.746,
    "snip": 0.603,
    "grad_norm": 0.600,
    "fisher": 0.552,
    "grasp": 0.537,
    "zen": 0.115,
    "plain": -0.352,
}


def test_figures_of_the_published_tables(shared_data: Path) -> None:
    folder = shared_data / "nb201"
    if not folder.is_dir():
        pytest.skip("needs the NAS-Bench-201 tables in the shared data folder")
    table = load_table(folder / "nb201_cifar10.csv.gz")
    test = table.column("c10_test")
    # All 15,625 rows: the whole interval of both takes seconds.
    agreement = spearman(table.column("c10_valid"), test, samples=100)
    assert round(agreement.value, 3) == 0.984
    assert agreement.high - agreement.low < 0.003
    assert round(spearman(table.column("params_m"), test, samples=1).value, 3) == 0.753
    # The figures rank the one failed score of some proxies, -1e8, as the lowest.
    path = folder / "nb201_naslib_proxies_cifar10.csv.gz"
    raw = load_table(path)
    accuracy = table.column("c10_test", raw.architectures)
    found = {
        name: round(spearman(values, accuracy, samples=1).value, 3)
        for name, values in raw.columns.items()
    }
    assert found == PUBLISHED
    nwot = load_table(path, failed=-1e8).column("nwot")
    rho, tau = (measure(nwot, accuracy, samples=100) for measure in MEASURES)
    assert (rho.used, rho.failed) == (9444, 1)
    assert round(rho.value, 3) == 0.811 and rho.low < 0.811 < rho.high
    assert 0.61 < tau.low < tau.value < tau.high < 0.64
