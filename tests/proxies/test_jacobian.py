"""jacov and epe_nas against NumPy: Jacobians by finite differences, then loops."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, ScoredNetwork, epe_nas, jacov
from nas_jax.proxies.jacobian import input_gradient, per_class_score

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def case(tiny: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """The network and batch, the Jacobian rows `[B, pixels]`, the labels."""
    params, batch = tiny.params(4), tiny.batch(5)
    images, labels = tiny.numpy(tuple(batch))
    weights = tiny.numpy(params)
    rows = tiny.slope(
        lambda x: tiny.numpy_observe(weights, x)["logits"].sum(), images
    ).reshape(len(images), -1)
    return (tiny.network(params), batch), rows, labels


def test_input_gradient(case: Any) -> None:
    scored, rows, _ = case
    np.testing.assert_allclose(
        input_gradient(*scored), rows, atol=1e-5 * np.abs(rows).max()
    )


def test_jacov(case: Any) -> None:
    scored, rows, _ = case
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows))
    assert eigenvalues.min() > 1e-3
    expected = -np.sum(np.log(eigenvalues + 1e-5) + 1 / (eigenvalues + 1e-5))
    assert jacov(*scored, KEY) == pytest.approx(expected, rel=1e-3)


def test_two_equal_images_cost_a_hundred_thousand(tiny: Any) -> None:
    # Their Jacobians are equal, so an eigenvalue is 0: -log 1e-5 - 1 / 1e-5 and little.
    images = tiny.batch(5).images.at[1].set(tiny.batch(5).images[0])
    batch = Batch(images, tiny.batch().labels)
    score = jacov(tiny.network(tiny.params(4)), batch, KEY)
    assert score == pytest.approx(-1e5, rel=1e-3)


def epe_by_loops(rows: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Class by class, as the published code does it."""
    scores = {}
    for c in sorted(set(labels.tolist())):
        corr = np.atleast_2d(np.corrcoef(rows[labels == c]))
        logs = np.log(np.abs(corr) + 1e-5).sum()
        if classes <= 100:
            scores[c] = logs
        elif len(corr) > 1:
            scores[c] = logs / len(corr)
    if classes <= 100:
        return sum(abs(s) for s in scores.values())
    gaps = [abs(a - b) for a in scores.values() for b in scores.values()]
    return sum(gaps) / len(scores)


def test_epe_nas(case: Any) -> None:
    scored, rows, labels = case
    # Class 2 has one image.
    assert np.bincount(labels).tolist() == [3, 2, 1]
    expected = epe_by_loops(rows, labels, 3)
    assert epe_nas(*scored, KEY) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("classes", [100, 101])
def test_per_class_score_of_few_and_many_classes(classes: int) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(9, 40)), np.array([0, 5, 5, 99, 99, 99, 99, 5, 7])
    score = per_class_score(
        jnp.asarray(np.corrcoef(rows), jnp.float32), jnp.asarray(labels), classes
    )
    assert score == pytest.approx(epe_by_loops(rows, labels, classes), rel=1e-4)
    # The two rules differ, so that the wrong one would show.
    other = epe_by_loops(rows, labels, 201 - classes)
    assert abs(float(score) - other) > 0.1 * other


def test_the_sum_of_normalised_logits_has_no_gradient() -> None:
    # Without a ReLU after the normalisation, the mean over the batch is 0 whatever the
    # images are: the exact Jacobian is 0, and what a computer finds is no score.
    def logits(params: Any, images: Any, *, norm: str) -> Any:
        hidden = images.reshape(len(images), -1) @ params["in"]
        hidden = hidden - jnp.mean(hidden, axis=0)
        hidden = hidden / jnp.sqrt(jnp.mean(hidden**2, axis=0) + 1e-5)
        return hidden @ params["out"]

    rng = np.random.default_rng(0)
    params = {
        "in": jnp.asarray(rng.normal(size=(16, 8)), jnp.float32),
        "out": jnp.asarray(rng.normal(size=(8, 3)), jnp.float32),
    }
    images = jnp.asarray(rng.normal(size=(8, 4, 4, 1)), jnp.float32)
    batch = Batch(images, jnp.arange(8) % 3)
    raw = jax.grad(lambda x: logits(params, x, norm="batch").sum())(images)
    assert 0 < float(jnp.abs(raw).max()) < 1e-5
    network = ScoredNetwork.plain(logits, params)
    assert np.isnan(jacov(network, batch, KEY))
    assert np.isnan(epe_nas(network, batch, KEY))
