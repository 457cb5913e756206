"""Proxy values derived by hand, or by a second computation in NumPy."""

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
    Observed,
    ScoredNetwork,
    cross_entropy,
    grad_norm,
    hamming_kernel,
    nwot,
    params,
    snip,
    synflow,
)
from nas_jax.proxies.layerwise import count_parameters, sum_over_weights

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


def test_cross_entropy_by_hand() -> None:
    # softmax of (log 3, 0) is (3/4, 1/4); labels 0 and 1.
    logits = jnp.array([[math.log(3), 0.0], [math.log(3), 0.0]])
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert cross_entropy(logits, jnp.array([0, 1])) == pytest.approx(expected)


def test_grad_norm_is_the_sum_of_the_layers_norms() -> None:
    # HAND: dL/dW1 = 0 and dL/dW2 = (-3/2, 3/2), of norm sqrt(9/2).
    network = ScoredNetwork.plain(two_linear_layers, HAND)
    batch = one_image([1.0, 2.0], 0)
    assert grad_norm(network, batch, KEY) == pytest.approx(math.sqrt(4.5), rel=1e-6)
    # W1 = [[2], [-1]] and W2 = [[1, 0]]: h = 0, so the logits are 0 and dL/dW2 = 0;
    # dL/dh = -1/2, so dL/dW1 = (-1/2, -1), of norm sqrt(5/4).
    p = HAND | {"w1": jnp.array([[2.0], [-1.0]]), "w2": jnp.array([[1.0, 0.0]])}
    network = ScoredNetwork.plain(two_linear_layers, p)
    assert grad_norm(network, batch, KEY) == pytest.approx(math.sqrt(1.25), rel=1e-6)


def random_case() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"w1": (4, 3), "w2": (3, 2), "b": (2,)}
    p = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return p, rng.normal(size=(5, 4)), np.array([0, 1, 1, 0, 1])


def numpy_gradients(
    p: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    hidden = x @ p["w1"]
    logits = hidden @ p["w2"] + p["b"]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = (probabilities - np.eye(2)[labels]) / len(labels)
    return x.T @ (error @ p["w2"].T), hidden.T @ error


def scored(
    p: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray
) -> tuple[ScoredNetwork, Batch]:
    tree = {name: jnp.asarray(a, jnp.float32) for name, a in p.items()}
    images = jnp.asarray(x, jnp.float32).reshape(len(x), 2, 2, 1)
    network = ScoredNetwork.plain(two_linear_layers, tree)
    return network, Batch(images, jnp.asarray(labels))


def test_grad_norm_and_snip_against_numpy() -> None:
    p, x, labels = random_case()
    g1, g2 = numpy_gradients(p, x, labels)
    network, batch = scored(p, x, labels)
    norms = np.linalg.norm(g1) + np.linalg.norm(g2)
    assert not np.isclose(norms, np.hypot(np.linalg.norm(g1), np.linalg.norm(g2)))
    assert grad_norm(network, batch, KEY) == pytest.approx(norms, rel=1e-5)
    expected = np.abs(g1 * p["w1"]).sum() + np.abs(g2 * p["w2"]).sum()
    assert snip(network, batch, KEY) == pytest.approx(expected, rel=1e-5)


def test_synflow_by_hand() -> None:
    # |W1| = [[1], [2]], |W2| = [[3, 4]], all-ones input (1, 1): h = 3, R = 3*3 + 3*4.
    # In a bias-free chain each layer's sum |W dR/dW| is R = 21, so two layers give 42;
    # the bias is not a weight.
    p = {
        "w1": jnp.array([[1.0], [-2.0]]),
        "w2": jnp.array([[-3.0, 4.0]]),
        "b": jnp.array([100.0, -100.0]),
    }
    network = ScoredNetwork.plain(two_linear_layers, p)
    assert synflow(network, one_image([5.0, -7.0], 1), KEY) == pytest.approx(42.0)


def test_synflow_runs_without_normalisation_and_others_with_it() -> None:
    seen: list[str] = []

    def logits(p: Any, images: Any, *, norm: str) -> Any:
        seen.append(norm)
        return two_linear_layers(p, images, norm=norm)

    batch = one_image([1.0, 2.0], 0)
    synflow(ScoredNetwork.plain(logits, HAND), batch, KEY)
    assert set(seen) == {"identity"}
    seen.clear()
    snip(ScoredNetwork.plain(logits, HAND), batch, KEY)
    assert set(seen) == {"batch"}


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


def test_params_by_hand() -> None:
    # 2 + 2 weights and 2 biases.
    network = ScoredNetwork.plain(two_linear_layers, HAND)
    assert params(network, one_image([0.0, 0.0], 0), KEY) == 6.0


def relu_network(*inputs: tuple[np.ndarray, list[float]]) -> ScoredNetwork:
    pairs = [(jnp.asarray(x, jnp.float32), jnp.array(count)) for x, count in inputs]
    network = ScoredNetwork.plain(two_linear_layers, HAND)
    return dataclasses.replace(
        network, observe=lambda p, images, norm: Observed(relu_inputs=pairs)
    )


def test_hamming_kernel_by_hand() -> None:
    # Codes of two images: 110 and 100 (zero is not active); they agree on two of
    # three ReLUs, each with itself on all three. The ReLUs are counted twice.
    inputs = jnp.array([[[1.0, 0.5, 0.0], [2.0, -1.0, -3.0]]])
    kernel = hamming_kernel(inputs, jnp.array([2.0]))
    np.testing.assert_array_equal(kernel, [[6, 4], [4, 6]])


def test_nwot_by_hand() -> None:
    # The kernel above has determinant 36 - 16 = 20.
    network = relu_network((np.array([[[1, 0.5, 0], [2, -1, -3.0]]]), [2.0]))
    assert nwot(network, one_image([0, 0], 0), KEY) == pytest.approx(
        math.log(20), rel=1e-6
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
        for _ in range(3):
            inputs = rng.normal(size=(2, size, 500))
            inputs[:, size // 2] = inputs[:, 1]
            network = relu_network((inputs, [1.0, 3.0]))
            score = nwot(network, one_image([0, 0], 0), KEY)
            assert np.isneginf(score)
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


def test_nwot_needs_relu_inputs() -> None:
    network = ScoredNetwork.plain(two_linear_layers, HAND)
    with pytest.raises(ConfigError, match="nwot needs 'relu_inputs'"):
        nwot(network, one_image([1.0, 2.0], 0), KEY)


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
