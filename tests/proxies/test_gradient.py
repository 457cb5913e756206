"""plain, grasp and fisher against NumPy, by formulas and by finite differences."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Gate, fisher, grasp, plain
from nas_jax.proxies.fisher import fisher_of_gates

KEY = jax.random.key(0)
KERNELS = ("conv", "out")


def numpy_case(tiny: Any) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    params, batch = tiny.params(2), tiny.batch(3)
    images, labels = tiny.numpy(tuple(batch))
    return (tiny.network(params), batch), tiny.numpy(params), images, labels


def loss_of(tiny: Any, images: np.ndarray, labels: np.ndarray) -> Any:
    def loss(params: Any) -> float:
        value: float = tiny.numpy_loss(
            tiny.numpy_observe(params, images)["logits"], labels
        )
        return value

    return loss


def gradients(tiny: Any, loss: Any, params: Any) -> dict[str, np.ndarray]:
    return {
        name: tiny.slope(lambda w, name=name: loss(params | {name: w}), params[name])
        for name in KERNELS
    }


def test_plain(tiny: Any) -> None:
    scored, params, images, labels = numpy_case(tiny)
    gradient = gradients(tiny, loss_of(tiny, images, labels), params)
    terms = [np.sum(gradient[name] * params[name]) for name in KERNELS]
    # Batch normalisation undoes the convolution's scale: its term is about 0.
    assert abs(terms[0]) < 1e-4 * abs(terms[1])
    assert plain(*scored, KEY) == pytest.approx(sum(terms), rel=1e-4)


def test_grasp(tiny: Any) -> None:
    scored, params, images, labels = numpy_case(tiny)
    loss = loss_of(tiny, images, labels)
    gradient = gradients(tiny, loss, params)
    # H g by the change of the gradient along g: biases and factors stay in place.
    step = 1e-3
    ends = []
    for sign in (1, -1):
        moved = {n: params[n] + sign * step * gradient[n] for n in KERNELS}
        ends.append(gradients(tiny, loss, params | moved))
    score = 0.0
    for name in KERNELS:
        product = (ends[0][name] - ends[1][name]) / (2 * step)
        score -= np.sum(params[name] * product)
    assert abs(score) > 1e-4
    assert grasp(*scored, KEY) == pytest.approx(score, rel=1e-3)


def test_fisher(tiny: Any) -> None:
    scored, params, images, labels = numpy_case(tiny)
    ones = [np.ones((len(images), 4)), np.ones((len(images), 3))]

    def loss(which: int, gate: np.ndarray) -> float:
        gates = [gate if i == which else ones[i] for i in range(2)]
        value: float = tiny.numpy_loss(
            tiny.numpy_observe(params, images, gates)["logits"], labels
        )
        return value

    # dL/dgate of image n and channel c is sum_hw a dL/da.
    score = 0.0
    for which, fan_in in enumerate((3 * 3 * 1, 4)):
        slope = tiny.slope(lambda g, which=which: loss(which, g), ones[which])
        assert np.abs(slope).max() > 1e-3
        for channel in range(slope.shape[1]):
            score += fan_in * abs(0.5 * np.mean(slope[:, channel] ** 2))
    assert fisher(*scored, KEY) == pytest.approx(score, rel=1e-4)


def test_fisher_is_the_mean_activation_times_gradient(tiny: Any) -> None:
    # The classifier by hand: a = logits, dL/da = (softmax - one-hot) / B.
    scored, params, images, labels = numpy_case(tiny)
    seen = tiny.numpy_observe(params, images)
    logits = seen["logits"]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (softmax - np.eye(3)[labels]) / len(labels)
    by_hand = 4 * 0.5 * np.sum(np.mean((logits * error) ** 2, axis=0))
    network, batch = scored

    def only_classifier(*args: Any, gates: Any = None, **kw: Any) -> Any:
        batch_size = len(args[1])
        inner = None if gates is None else [jnp.ones((1, batch_size, 4)), gates[0]]
        seen = tiny.observe(*args, gates=inner, **kw)
        return seen._replace(channels=seen.channels[1:])

    network = dataclasses.replace(network, observe=only_classifier)
    assert fisher(network, batch, KEY) == pytest.approx(by_hand, rel=1e-5)


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
