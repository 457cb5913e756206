"""The optimisers against PyTorch's update rules, written out in NumPy."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.training import alpha_adam, sgd_cosine


def test_the_cosine_moves_once_an_epoch_by_hand() -> None:
    # Four epochs of three steps: lr_e = 0.001 + (0.025 - 0.001) (1 + cos(pi e/4)) / 2.
    _, schedule = sgd_cosine(0.025, 12, steps_per_epoch=3, minimum=0.001)
    by_hand = [0.025, 0.0214852813742, 0.013, 0.0045147186258]
    for step in range(12):
        assert float(schedule(step)) == pytest.approx(by_hand[step // 3], rel=1e-5)


def test_the_cosine_of_the_last_epoch_is_not_yet_the_minimum() -> None:
    # DARTS, 50 epochs: CosineAnnealingLR has moved 49 times in the last epoch.
    _, schedule = sgd_cosine(0.025, 50 * 7, steps_per_epoch=7, minimum=0.001)
    last = 0.001 + 0.024 * (1 + math.cos(math.pi * 49 / 50)) / 2
    assert float(schedule(0)) == pytest.approx(0.025, rel=1e-6)
    assert float(schedule(6)) == pytest.approx(0.025, rel=1e-6)
    assert float(schedule(350 - 1)) == pytest.approx(last, rel=1e-4)
    assert last > 0.001


def test_sgd_against_numpy() -> None:
    steps, per_epoch, rate, minimum = 6, 2, 0.5, 0.1
    momentum, decay, clip = 0.9, 0.1, 1.0
    rng = np.random.default_rng(0)
    w = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=4)}
    # Every other gradient is small enough not to be clipped.
    scales = [3.0, 0.05, 3.0, 0.05, 3.0, 0.05]
    gradients = [
        {k: s * rng.normal(size=v.shape) for k, v in w.items()} for s in scales
    ]
    norms = [math.sqrt(sum((g**2).sum() for g in d.values())) for d in gradients]
    assert min(norms) < clip < max(norms)

    optimiser, _ = sgd_cosine(
        rate,
        steps,
        steps_per_epoch=per_epoch,
        minimum=minimum,
        momentum=momentum,
        weight_decay=decay,
        gradient_clip=clip,
    )
    params = {k: jnp.asarray(v, jnp.float32) for k, v in w.items()}
    state = optimiser.init(params)
    update = jax.jit(optimiser.update)
    buffer = {k: np.zeros_like(v) for k, v in w.items()}
    for step, gradient in enumerate(gradients):
        factor = min(1.0, clip / norms[step])
        epoch = step // per_epoch
        lr = minimum + (rate - minimum) * (1 + math.cos(math.pi * epoch / 3)) / 2
        for k in w:
            buffer[k] = momentum * buffer[k] + factor * gradient[k] + decay * w[k]
            w[k] = w[k] - lr * buffer[k]
        jax_gradient = {k: jnp.asarray(g, jnp.float32) for k, g in gradient.items()}
        updates, state = update(jax_gradient, state, params)
        params = optax.apply_updates(params, updates)
        for k in w:
            np.testing.assert_allclose(params[k], w[k], rtol=1e-5, atol=1e-6)


def test_alpha_adam_by_hand() -> None:
    # alpha = 2, penalty 0.5, so the first gradient is 3 + 0.5 * 2 = 4.
    #   m = 0.5 * 4 = 2, v = 0.001 * 16; corrected: 2 / 0.5 = 4, 0.016 / 0.001 = 16.
    #   alpha = 2 - 0.1 * 4 / (sqrt(16) + 1e-8) = 1.9
    # Second: g = -1 + 0.5 * 1.9 = -0.05.
    #   m = 0.5 * 2 + 0.5 * -0.05 = 0.975, corrected / (1 - 0.25) = 1.3
    #   v = 0.999 * 0.016 + 0.001 * 0.0025, corrected / (1 - 0.998001)
    optimiser = alpha_adam(0.1, (0.5, 0.999), 0.5)
    alpha = jnp.array([2.0])
    state = optimiser.init(alpha)
    updates, state = optimiser.update(jnp.array([3.0]), state, alpha)
    alpha = optax.apply_updates(alpha, updates)
    np.testing.assert_allclose(alpha, [1.9], rtol=1e-6)
    updates, state = optimiser.update(jnp.array([-1.0]), state, alpha)
    alpha = optax.apply_updates(alpha, updates)
    second = 0.999 * 0.016 + 0.001 * 0.0025
    expected = 1.9 - 0.1 * 1.3 / (math.sqrt(second / (1 - 0.999**2)) + 1e-8)
    np.testing.assert_allclose(alpha, [expected], rtol=1e-5)


def test_alpha_adam_defaults_are_those_of_darts() -> None:
    # Without a gradient the penalty alone moves an alpha, by the learning rate.
    optimiser = alpha_adam()
    alpha = jnp.array([2.0, -2.0, 0.0])
    updates, _ = optimiser.update(jnp.zeros(3), optimiser.init(alpha), alpha)
    np.testing.assert_allclose(updates, [-3e-4, 3e-4, 0.0], rtol=1e-4)
