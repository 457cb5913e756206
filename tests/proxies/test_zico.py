"""ZiCo against loops in NumPy over the gradients of two batches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch, ScoredNetwork, zico
from nas_jax.proxies.zico import signal_to_noise

KEY = jax.random.key(0)


def linear(p: Any, images: Any, *, norm: str) -> Any:
    return (images.reshape(len(images), -1) @ p["w1"]) @ p["w2"]


def gradients(p: Any, x: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    hidden = x @ p["w1"]
    e = np.exp(hidden @ p["w2"])
    error = (e / e.sum(1, keepdims=True) - np.eye(2)[labels]) / len(labels)
    return [x.T @ (error @ p["w2"].T), hidden.T @ error]


def zico_by_loops(batches: list[list[np.ndarray]]) -> float:
    """Layer by layer and weight by weight, as the published code does it."""
    score = 0.0
    for layer in zip(*batches, strict=True):
        total = 0.0
        for values in zip(*(g.ravel() for g in layer), strict=True):
            if np.std(values) > 0:
                total += np.mean(np.abs(values)) / np.std(values)
        if total > 0:
            score += np.log(total)
    return score


@pytest.mark.parametrize("images", [8, 9])
def test_zico(images: int) -> None:
    rng = np.random.default_rng(0)
    p = {"w1": rng.normal(size=(4, 3)), "w2": rng.normal(size=(3, 2))}
    # One pixel is black: its weights have no gradient and no deviation.
    x = rng.normal(size=(images, 4)) * [1, 1, 0, 1]
    labels = rng.integers(0, 2, images)
    halves = [gradients(p, x[i : i + 4], labels[i : i + 4]) for i in (0, 4)]
    assert (halves[0][0][2] == 0).all()
    single = {n: jnp.asarray(w, jnp.float32) for n, w in p.items()}
    batch = Batch(jnp.asarray(x, jnp.float32).reshape(-1, 2, 2, 1), jnp.asarray(labels))
    score = zico(ScoredNetwork.plain(linear, single), batch, KEY)
    assert score == pytest.approx(zico_by_loops(halves), rel=1e-4)


def test_a_layer_without_gradient_adds_nothing() -> None:
    p = {"w1": jnp.zeros((1, 1)), "w2": jnp.zeros((1, 2))}
    batch = Batch(jnp.ones((2, 1, 1, 1)), jnp.array([0, 1]))
    assert zico(ScoredNetwork.plain(linear, p), batch, KEY) == 0.0


def test_signal_to_noise_by_hand() -> None:
    # mean |g| = 2 and std 1; mean 2 and std 2; no deviation.
    gradients = jnp.array([[1.0, -2.0, 4.0], [3.0, 2.0, 4.0]])
    np.testing.assert_allclose(signal_to_noise(gradients), [2, 1, 0])


def test_a_gradient_that_is_nan_fails() -> None:
    gradients = jnp.array([[1.0, jnp.nan], [3.0, 2.0]])
    np.testing.assert_allclose(signal_to_noise(gradients), [2, jnp.nan])
    p = {"w1": jnp.full((1, 1), jnp.nan), "w2": jnp.ones((1, 2))}
    batch = Batch(jnp.ones((2, 1, 1, 1)), jnp.array([0, 1]))
    assert jnp.isnan(zico(ScoredNetwork.plain(linear, p), batch, KEY))


def test_one_image_cannot_be_split() -> None:
    p = {"w1": jnp.ones((1, 1)), "w2": jnp.ones((1, 2))}
    batch = Batch(jnp.ones((1, 1, 1, 1)), jnp.array([0]))
    with pytest.raises(ConfigError, match="zico splits a batch into 2"):
        zico(ScoredNetwork.plain(linear, p), batch, KEY)
