"""Zen-Score against NumPy, with the weights and images that it drew."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import get_proxy, zen
from nas_jax.proxies.zen import gaussian_weights, zen_score

KEY = jax.random.key(0)


def test_zen(tiny: Any) -> None:
    drawn: list[Any] = []

    def observe(params: Any, images: Any, **kw: Any) -> Any:
        drawn.append(tiny.numpy((params, images)))
        return tiny.observe(params, images, **kw)

    network = dataclasses.replace(tiny.network(tiny.params(0)), observe=observe)
    batch = tiny.batch()
    score = zen(network, batch, KEY)
    (params, images), (same, disturbed) = drawn
    jax.tree.map(np.testing.assert_array_equal, params, same)
    assert images.shape == batch.images.shape
    noise = (disturbed - images) / 0.01
    for sample in (images, noise):
        assert abs(sample.mean()) < 0.2 and abs(sample.std() - 1) < 0.2
    assert abs(np.corrcoef(images.ravel(), noise.ravel())[0, 1]) < 0.2
    first, second = (tiny.numpy_observe(params, x) for x in (images, disturbed))
    moved = [
        np.abs(a - b).sum()
        for a, b in zip(first["feature_map"], second["feature_map"], strict=True)
    ]
    expected = math.log(np.mean(moved)) + math.log(math.sqrt(first["variance"].mean()))
    assert score == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["zen", "linear_regions"])
def test_draws_do_not_depend_on_the_precision(tiny: Any, name: str) -> None:
    score = get_proxy(name).score
    single = score(tiny.network(tiny.params(0)), tiny.batch(), KEY)
    with jax.enable_x64(True):
        batch = tiny.batch(dtype=jnp.float64)
        double = score(tiny.network(tiny.params(0, jnp.float64)), batch, KEY)
    np.testing.assert_allclose(double, single, rtol=1e-4)


def test_weights_are_gaussian_and_normalisations_untouched() -> None:
    params = {
        "conv": jnp.full((2, 3, 3, 10, 20), 5.0),
        "scale": jnp.full((2, 7), 5.0),
        "shift": jnp.full((2, 7), 5.0),
    }
    live = {"conv": jnp.ones(2), "scale": jnp.ones(2), "shift": jnp.ones(2)}
    drawn = gaussian_weights(KEY, live, params)
    assert abs(float(drawn["conv"].mean())) < 0.1
    assert abs(float(drawn["conv"].std()) - 1) < 0.1
    np.testing.assert_array_equal(drawn["scale"], 1)
    np.testing.assert_array_equal(drawn["shift"], 0)
    other = gaussian_weights(jax.random.key(1), live, params)
    assert not np.allclose(other["conv"], drawn["conv"])


def test_zen_score_by_hand() -> None:
    # Two images whose features move by 3 and 5. Two stacked norms of variance
    # (1 + 3) / 2 = 2 and of a dead 0, and one of 8: log 4 + log sqrt 2 + log sqrt 8.
    # That of 8 counts twice where two of the network's have the same input.
    feature_map = jnp.zeros((2, 1, 1, 2))
    disturbed = jnp.array([[1.0, -2.0], [0.0, 5.0]]).reshape(2, 1, 1, 2)
    variances = [
        (jnp.array([[1.0, 3.0], [0.0, 0.0]]), jnp.array([1.0, 0.0])),
        (jnp.array([[8.0]]), jnp.ones(1)),
    ]
    score = zen_score(feature_map, disturbed, variances)
    assert score == pytest.approx(math.log(4) + math.log(4))
    assert zen_score(feature_map, disturbed, []) == pytest.approx(math.log(4))
    variances[1] = (variances[1][0], jnp.array([2.0]))
    twice = zen_score(feature_map, disturbed, variances)
    assert twice - score == pytest.approx(math.log(math.sqrt(8)))
    # One that normalises nothing but zeros scales nothing.
    variances.append((jnp.zeros((1, 2)), jnp.ones(1)))
    assert zen_score(feature_map, disturbed, variances) == twice
