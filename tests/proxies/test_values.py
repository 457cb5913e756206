"""Proxy values derived by hand, beside those of test_reference_values."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.proxies import (
    Batch,
    Gate,
    Observed,
    ScoredNetwork,
    grad_norm,
    nwot,
    params,
    snip,
    synflow,
    zico,
)
from nas_jax.proxies.fisher import fisher_of_gates
from nas_jax.proxies.layerwise import count_parameters, sum_over_weights
from nas_jax.proxies.zico import signal_to_noise

KEY = jax.random.key(0)


def two_linear_layers(p: Any, images: Any, *, norm: str) -> Any:
    x = images.reshape(images.shape[0], -1)
    return (x @ p["w1"]) @ p["w2"] + p["b"]


def one_image(values: list[float], label: int) -> Batch:
    image = jnp.array(values, jnp.float32).reshape(1, 1, len(values), 1)
    return Batch(image, jnp.array([label]))


# x = (1, 2), W1 = [[1], [1]], so h = 3; W2 = [[0, 0]] and b = 0, so both logits are 0
# and p = (1/2, 1/2). With label 0, dL/dlogits = (-1/2, 1/2).
#   dL/dW2 = h * (-1/2, 1/2) = (-3/2, 3/2)
#   dL/dh  = W2 . (-1/2, 1/2);  dL/dW1 = x^T dL/dh
HAND = {"w1": jnp.ones((2, 1)), "w2": jnp.zeros((1, 2)), "b": jnp.zeros(2)}


def test_proxies_of_one_network_share_the_gradient() -> None:
    calls: list[str] = []

    def logits(p: Any, images: Any, *, norm: str) -> Any:
        calls.append(norm)
        return two_linear_layers(p, images, norm=norm)

    network, batch = ScoredNetwork.plain(logits, HAND), one_image([1.0, 2.0], 0)
    snip(network, batch, KEY)
    grad_norm(network, batch, KEY)
    assert len(calls) == 1
    # Another batch is another gradient.
    other = one_image([2.0, 4.0], 0)
    assert grad_norm(network, other, KEY) == pytest.approx(2 * math.sqrt(4.5), rel=1e-6)
    assert calls == ["batch"] * 2
    synflow(network, other, KEY)
    assert calls[2:] == ["identity"]
    # 2 + 2 weights and 2 biases.
    assert params(network, batch, KEY) == 6.0


def relu_network(*inputs: tuple[np.ndarray, list[float]]) -> ScoredNetwork:
    pairs = [(jnp.asarray(x, jnp.float32), jnp.array(count)) for x, count in inputs]
    network = ScoredNetwork.plain(two_linear_layers, HAND)
    return dataclasses.replace(
        network, observe=lambda p, images, norm: Observed(relu_inputs=pairs)
    )


def test_nwot_against_loops_over_binary_codes() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 4, 3, 3, 2)), rng.normal(size=(1, 4, 5))
    counts = [[1.0, 3.0], [2.0]]
    kernel = np.zeros((4, 4))
    for stack, repeats in zip((first, second), counts, strict=True):
        for inputs, count in zip(stack, repeats, strict=True):
            codes = (inputs > 0).reshape(4, -1)
            for i in range(4):
                for j in range(4):
                    agree = sum(a == b for a, b in zip(codes[i], codes[j], strict=True))
                    kernel[i, j] += count * agree
    expected = math.log(abs(np.linalg.det(kernel)))
    network = relu_network((first, counts[0]), (second, counts[1]))
    assert nwot(network, one_image([0, 0], 0), KEY) == pytest.approx(expected, rel=1e-5)


def test_nwot_of_equal_patterns_is_no_number() -> None:
    """The determinant is 0; rounding makes some e^-40 of it."""
    rng = np.random.default_rng(0)
    for size in (4, 64):
        inputs = rng.normal(size=(2, size, 500))
        inputs[:, size // 2] = inputs[:, 1]
        network = relu_network((inputs, [1.0, 3.0]))
        assert np.isneginf(nwot(network, one_image([0, 0], 0), KEY))
        inputs[0, 1, 0] *= -1
        network = relu_network((inputs, [1.0, 3.0]))
        assert np.isfinite(nwot(network, one_image([0, 0], 0), KEY))


def test_nwot_does_not_overflow() -> None:
    # 64 images that agree on half of 2e5 ReLUs: the determinant is about 1e335.
    inputs = np.random.default_rng(0).normal(size=(1, 64, 2000))
    network = relu_network((inputs, [100.0]))
    codes = (inputs[0] > 0).astype(float)
    kernel = 100 * (codes @ codes.T + (1 - codes) @ (1 - codes).T)
    expected = np.linalg.slogdet(kernel)[1]
    assert expected > math.log(np.finfo(np.float32).max)
    assert nwot(network, one_image([0, 0], 0), KEY) == pytest.approx(expected, rel=1e-4)


def test_sums_of_stacked_layers() -> None:
    # Two stacked 1x2 kernels, the second one dead, and a kernel of one layer.
    live = {"stack": jnp.array([1.0, 0.0]), "one": jnp.ones(())}
    weights = {
        "stack": jnp.array([[[3.0, 4.0]], [[7.0, 9.0]]]),
        "one": jnp.array([[6.0], [8.0]]),
    }
    norms = sum_over_weights(jnp.square, live, weights, per_layer=jnp.sqrt)
    assert norms == pytest.approx(5.0 + 10.0)
    assert count_parameters(live, weights) == 2.0 + 2.0


def test_fisher_of_stacked_layers() -> None:
    # Two stacked layers of one channel and two images, the second layer dead:
    # 5 * 1/2 * mean(1, 9); a third by itself: 7 * 1/2 * mean(4, 0).
    stack = Gate(jnp.ones((2, 2, 1)), 5, jnp.array([1.0, 0.0]))
    alone = Gate(jnp.ones((1, 2, 1)), jnp.array([7]), jnp.ones(1))
    slopes = [
        jnp.array([[[1.0], [-3.0]], [[100.0], [1.0]]]),
        jnp.array([[[-2.0], [0.0]]]),
    ]
    assert fisher_of_gates([stack, alone], slopes) == 5 * 2.5 + 7 * 1.0


def linear(p: Any, images: Any, *, norm: str) -> Any:
    return (images.reshape(len(images), -1) @ p["w1"]) @ p["w2"]


def test_a_layer_without_gradient_adds_nothing() -> None:
    p = {"w1": jnp.zeros((1, 1)), "w2": jnp.zeros((1, 2))}
    batch = Batch(jnp.ones((2, 1, 1, 1)), jnp.array([0, 1]))
    assert zico(ScoredNetwork.plain(linear, p), batch, KEY) == 0.0
    with pytest.raises(ConfigError, match="zico splits a batch into 2"):
        one = Batch(batch.images[:1], batch.labels[:1])
        zico(ScoredNetwork.plain(linear, p), one, KEY)


def test_a_gradient_that_is_nan_fails() -> None:
    gradients = jnp.array([[1.0, jnp.nan], [3.0, 2.0]])
    np.testing.assert_allclose(signal_to_noise(gradients), [2, jnp.nan])
    p = {"w1": jnp.full((1, 1), jnp.nan), "w2": jnp.ones((1, 2))}
    batch = Batch(jnp.ones((2, 1, 1, 1)), jnp.array([0, 1]))
    assert jnp.isnan(zico(ScoredNetwork.plain(linear, p), batch, KEY))
