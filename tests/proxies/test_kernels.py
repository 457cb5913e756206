"""Tangent and Gaussian-process kernels against NumPy in float64."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import (
    nngp_cond,
    nngp_eigen,
    nngp_frobenius,
    nngp_lga,
    nngp_mean,
    ntk_cond,
    ntk_eigen,
)
from nas_jax.proxies.nngp import label_alignment
from nas_jax.proxies.ntk import weight_gradients
from nas_jax.proxies.spectrum import (
    condition_number,
    correlation,
    eigenvalue_score,
    gram_eigenvalues,
)

KEY = jax.random.key(0)


def eigen_score(kernel: np.ndarray, epsilon: float) -> float:
    shifted = np.linalg.eigvalsh(kernel) + epsilon
    return float(-np.sum(np.log(shifted) + 1 / shifted))


def rows_of_condition(condition: float) -> np.ndarray:
    """Six rows of length 50 whose Gram matrix has a condition number."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    right = np.linalg.qr(rng.normal(size=(50, 6)))[0]
    return (left * np.geomspace(1, condition**-0.5, 6)) @ right.T


def test_a_condition_number_that_float32_eigenvalues_lose() -> None:
    rows = rows_of_condition(1e9)
    single = jnp.asarray(rows, jnp.float32)
    assert condition_number(single) == pytest.approx(1e9, rel=0.05)
    eigenvalues = jnp.linalg.eigvalsh(single @ single.T)
    assert not 5e8 < float(eigenvalues[-1] / eigenvalues[0]) < 2e9


def test_gram_eigenvalues_and_those_that_the_columns_do_not_allow() -> None:
    rows = np.random.default_rng(1).normal(size=(5, 3))
    eigenvalues = gram_eigenvalues(jnp.asarray(rows, jnp.float32))
    expected = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    np.testing.assert_allclose(eigenvalues[:3], expected[:3], rtol=1e-5)
    np.testing.assert_array_equal(eigenvalues[3:], 0)
    # The smallest of the three that there can be.
    assert condition_number(jnp.asarray(rows, jnp.float32)) == pytest.approx(
        expected[0] / expected[2], rel=1e-4
    )


def test_a_singular_kernel_has_no_condition_number() -> None:
    rows = jnp.asarray(np.random.default_rng(2).normal(size=(4, 9)), jnp.float32)
    # The rows sum to zero but for rounding.
    assert np.isposinf(condition_number(rows - jnp.mean(rows, axis=0)))
    assert np.isnan(condition_number(jnp.zeros((4, 9))))
    assert np.isnan(condition_number(rows.at[0, 0].set(jnp.nan)))


def test_correlation_is_that_of_numpy() -> None:
    rows = np.random.default_rng(3).normal(size=(5, 8)) + 10
    expected = np.corrcoef(rows)
    single = jnp.asarray(rows, jnp.float32)
    np.testing.assert_allclose(correlation(single), expected, atol=1e-5)
    # A constant row correlates with nothing.
    assert np.isnan(correlation(single.at[0].set(1.0))[0]).all()


def test_eigenvalue_score_by_hand() -> None:
    # -(log 1 + 1/1) - (log 4 + 1/4)
    score = eigenvalue_score(jnp.array([0.0, 3.0]), 1.0)
    assert score == pytest.approx(-1 - np.log(4) - 0.25)


@pytest.fixture(scope="module")
def case(tiny: Any) -> tuple[Any, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The network and batch; in NumPy what it tells, its NTK rows, the labels."""
    params, batch = tiny.params(6), tiny.batch(7)
    images, labels = tiny.numpy(tuple(batch))
    weights = tiny.numpy(params)
    rows = [
        tiny.slope(
            lambda w, name=name: tiny.numpy_observe(weights | {name: w}, images)[
                "logits"
            ].sum(axis=1),
            weights[name],
        ).reshape(len(images), -1)
        for name in ("conv", "out", "scale")  # not the bias nor the shift
    ]
    seen = tiny.numpy_observe(weights, images)
    return (tiny.network(params), batch), seen, np.concatenate(rows, axis=1), labels


def test_ntk(case: Any) -> None:
    scored, _, rows, _ = case
    assert weight_gradients(*scored).shape == (6, 9 * 4 + 4 * 3 + 4)
    np.testing.assert_allclose(weight_gradients(*scored), rows, atol=1e-4)
    kernel = rows @ rows.T
    eigenvalues = np.linalg.eigvalsh(kernel)
    expected = eigenvalues[-1] / eigenvalues[0]
    assert expected > 10
    assert ntk_cond(*scored, KEY) == pytest.approx(expected, rel=1e-3)
    assert ntk_eigen(*scored, KEY) == pytest.approx(eigen_score(kernel, 1), rel=1e-4)


def test_nngp_of_the_logits(case: Any) -> None:
    scored, seen, _, labels = case
    logits = seen["logits"]
    corr = np.corrcoef(logits)
    frobenius = np.sqrt(np.sum(corr**2))
    assert nngp_frobenius(*scored, KEY) == pytest.approx(frobenius, rel=1e-4)
    assert nngp_mean(*scored, KEY) == pytest.approx(np.mean(corr), rel=1e-3)
    # Six images and three classes: three eigenvalues.
    eigenvalues = np.linalg.eigvalsh(logits @ logits.T)[-3:]
    condition = eigenvalues[-1] / eigenvalues[0]
    assert nngp_cond(*scored, KEY) == pytest.approx(condition, rel=1e-3)
    kernel = logits @ logits.T
    agree = np.array([[1 if a == b else -1 for b in labels] for a in labels])
    aligned = np.corrcoef(kernel.ravel(), agree.ravel())[0, 1]
    assert nngp_lga(*scored, KEY) == pytest.approx(aligned, rel=1e-3)


def test_nngp_of_the_features(case: Any) -> None:
    scored, seen, _, _ = case
    features = seen["features"]
    expected = eigen_score(features @ features.T, 1)
    assert nngp_eigen(*scored, KEY) == pytest.approx(expected, rel=1e-5)


def test_label_alignment_by_hand() -> None:
    # A kernel that is the labels' own, times 3 and plus 1, is aligned with them.
    labels = jnp.array([0, 1, 1])
    agree = jnp.array([[1.0, -1, -1], [-1, 1, 1], [-1, 1, 1]])
    assert label_alignment(3 * agree + 1, labels) == pytest.approx(1.0)
    assert label_alignment(-agree, labels) == pytest.approx(-1.0)
    assert np.isnan(label_alignment(agree, jnp.zeros(3, int)))
