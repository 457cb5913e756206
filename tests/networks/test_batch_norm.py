from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks.layers import BatchNorm

X = np.random.default_rng(0).normal(2, 3, (2, 3, 4, 5, 2)).astype(np.float32)
AXES = (1, 2, 3)


def spread(statistics: np.ndarray) -> np.ndarray:
    return statistics[:, None, None, None, :]


def test_statistics_of_the_batch() -> None:
    mean, variance = X.mean(AXES), X.var(AXES)
    expected = (X - spread(mean)) / np.sqrt(spread(variance) + 1e-5)
    module = BatchNorm()
    assert jax.eval_shape(module.init, jax.random.key(0), X) == {}
    np.testing.assert_allclose(module.apply({}, jnp.asarray(X)), expected, atol=1e-4)


def test_scale_and_shift() -> None:
    rng = np.random.default_rng(1)
    params = {n: rng.normal(size=(2, 2)).astype(np.float32) for n in ("scale", "shift")}
    y = BatchNorm(affine=True).apply({"params": params}, jnp.asarray(X))
    plain = np.asarray(BatchNorm().apply({}, jnp.asarray(X)))
    expected = plain * spread(params["scale"]) + spread(params["shift"])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_running_statistics() -> None:
    module = BatchNorm(affine=True, tracked=True)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.asarray(X))
    stats = variables["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros((2, 2)))
    np.testing.assert_array_equal(stats["variance"], np.ones((2, 2)))
    expected_mean, expected_variance = np.zeros((2, 2)), np.ones((2, 2))
    for step in range(2):
        batch = X + step
        _, changed = module.apply(
            variables, jnp.asarray(batch), mutable=["batch_stats"]
        )
        variables = {**variables, **changed}
        # PyTorch: 0.9 of the old value, 0.1 of the batch, with the unbiased variance.
        expected_mean = 0.9 * expected_mean + 0.1 * batch.mean(AXES)
        expected_variance = 0.9 * expected_variance + 0.1 * batch.var(AXES, ddof=1)
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], expected_mean, rtol=1e-5)
    np.testing.assert_allclose(stats["variance"], expected_variance, rtol=1e-4)

    running = BatchNorm("running", affine=True, tracked=True)
    y, unchanged = running.apply(variables, jnp.asarray(X), mutable=["batch_stats"])
    expected = (X - spread(expected_mean)) / np.sqrt(spread(expected_variance) + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(unchanged["batch_stats"]["mean"], stats["mean"])


def test_running_statistics_do_not_change_where_they_are_not_mutable() -> None:
    module = BatchNorm(tracked=True)
    variables = module.init(jax.random.key(0), jnp.asarray(X))
    y = module.apply(variables, jnp.asarray(X))
    np.testing.assert_allclose(y, BatchNorm().apply({}, jnp.asarray(X)))


def test_identity() -> None:
    y = BatchNorm("identity").apply({}, jnp.asarray(X))
    np.testing.assert_array_equal(y, X)


def test_identity_has_factors_and_does_not_read_them() -> None:
    module = BatchNorm("identity", affine=True)
    shapes = jax.eval_shape(module.init, jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, shapes["params"]) == {
        "scale": (2, 2),
        "shift": (2, 2),
    }
    params = {"scale": jnp.full((2, 2), 3.0), "shift": jnp.full((2, 2), -5.0)}

    def apply(params: dict[str, jax.Array]) -> jax.Array:
        y: jax.Array = module.apply({"params": params}, jnp.asarray(X))  # type: ignore
        return y

    np.testing.assert_array_equal(apply(params), X)
    gradient = jax.grad(lambda p: jnp.sum(apply(p)))(params)
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0), gradient)


def test_variance_of_a_large_mean_is_not_negative() -> None:
    x = jnp.full((1, 2, 2, 2, 1), 3e4) + jnp.arange(2.0).reshape(1, 2, 1, 1, 1)
    y = BatchNorm().apply({}, x)
    assert np.isfinite(y).all()


def test_gradient_against_numbers() -> None:
    # In the direction of the input itself the output does not change.
    x = jnp.asarray(X[:1, :, :2, :2])

    @jax.jit
    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(BatchNorm().apply({}, x)))

    gradient = jax.grad(loss)(x)
    direction = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
    step = 1e-2
    numeric = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    assert float(jnp.vdot(gradient, direction)) == pytest.approx(
        float(numeric), rel=1e-2
    )
    assert float(jnp.abs(jnp.vdot(gradient, x - x.mean(AXES)[:, None, None, None]))) < (
        1e-2
    )
