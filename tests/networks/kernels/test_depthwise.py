from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks.kernels.depthwise import (
    conv_by_groups,
    conv_by_taps,
    depthwise_conv,
)

CASES = [
    (3, 1, 1, (4, 4)),
    (3, 2, 2, (5, 5)),
    (5, 1, 2, (4, 6)),
    (5, 2, 1, (5, 4)),
    (3, 2, 1, (4, 4)),
    (5, 2, 2, (4, 5)),
]
"""Kernel size, stride, dilation and image size."""
Conv = Callable[[jax.Array, jax.Array], jax.Array]


def arrays(k: int, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(k)
    x = rng.normal(size=(2, 2, *size, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(2, k, k, 3)), jnp.float32)


def by_loops(x: np.ndarray, w: np.ndarray, stride: int, dilation: int) -> np.ndarray:
    k, (height, width) = w.shape[1], x.shape[2:4]
    pad = dilation * (k - 1) // 2
    rows, columns = -(-height // stride), -(-width // stride)
    y = np.zeros((*x.shape[:2], rows, columns, x.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            for di in range(k):
                for dj in range(k):
                    row = i * stride + di * dilation - pad
                    column = j * stride + dj * dilation - pad
                    if 0 <= row < height and 0 <= column < width:
                        y[:, :, i, j] += x[:, :, row, column] * w[:, None, di, dj]
    return y


def derivatives(conv: Conv, x: jax.Array, w: jax.Array) -> tuple[jax.Array, ...]:
    """Value, both gradients, and the gradients of a function of the gradients.

    The loss is not quadratic, so every second derivative is different from zero.
    """

    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(conv(x, w)))

    def outer(x: jax.Array, w: jax.Array) -> jax.Array:
        dx, dw = jax.grad(loss, (0, 1))(x, w)
        return jnp.sum(jnp.cos(dx)) + jnp.sum(jnp.sin(dw))

    return (conv(x, w), *jax.grad(loss, (0, 1))(x, w), *jax.grad(outer, (0, 1))(x, w))


@pytest.mark.parametrize(("k", "stride", "dilation", "size"), CASES)
def test_values_and_both_derivatives(
    k: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    x, w = arrays(k, size)
    ours = functools.partial(depthwise_conv, stride=stride, dilation=dilation)
    reference = functools.partial(conv_by_groups, stride, dilation)
    actual = jax.jit(functools.partial(derivatives, ours))(x, w)
    expected = jax.jit(functools.partial(derivatives, reference))(x, w)
    for a, b in zip(actual, expected, strict=True):
        assert np.abs(b).max() > 1e-2
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("k", "stride", "dilation", "size"), CASES)
@pytest.mark.parametrize("conv", [conv_by_taps, conv_by_groups])
def test_both_ways_against_loops(
    conv: Callable[..., jax.Array],
    k: int,
    stride: int,
    dilation: int,
    size: tuple[int, int],
) -> None:
    x, w = arrays(k, size)
    expected = by_loops(np.asarray(x), np.asarray(w), stride, dilation)
    y = jax.jit(functools.partial(conv, stride, dilation))(x, w)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_a_cpu_program_has_no_convolution() -> None:
    x, w = arrays(3, (4, 4))
    text = jax.jit(depthwise_conv).trace(x, w).lower(lowering_platforms=("cpu",))
    assert "stablehlo.convolution" not in text.as_text()


def test_an_accelerator_program_is_one_grouped_convolution() -> None:
    x, w = arrays(3, (4, 4))
    text = jax.jit(depthwise_conv).trace(x, w).lower(lowering_platforms=("cuda",))
    assert text.as_text().count("stablehlo.convolution") == 1
    assert "feature_group_count = 6" in text.as_text()


def test_vectorised_derivative() -> None:
    x, w = arrays(3, (4, 4))

    def loss(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(depthwise_conv(x, w)))

    xs = jnp.stack([x, 2 * x])
    gradients = jax.jit(jax.vmap(jax.grad(loss, 1), (0, None)))(xs, w)
    np.testing.assert_allclose(gradients[1], 4 * gradients[0], rtol=1e-5)


def test_bfloat16_stays_bfloat16() -> None:
    x, w = (a.astype(jnp.bfloat16) for a in arrays(3, (4, 4)))
    y, pull = jax.eval_shape(lambda x, w: jax.vjp(depthwise_conv, x, w), x, w)
    assert y.dtype == jnp.bfloat16
    dx, dw = jax.eval_shape(lambda pull, y: pull(y), pull, y)
    assert dx.dtype == dw.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ((2, 4, 4, 3), (2, 3, 3, 3), "do not fit"),
        ((2, 1, 4, 4, 3), (1, 3, 3, 3), "do not fit"),
        ((2, 1, 4, 4, 3), (2, 3, 3, 2), "do not fit"),
        ((2, 1, 4, 4, 3), (2, 3, 5, 3), r"square and odd; got \(3, 5\)"),
        ((2, 1, 4, 4, 3), (2, 4, 4, 3), r"square and odd; got \(4, 4\)"),
    ],
)
def test_arrays_that_do_not_fit(
    x: tuple[int, ...], w: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        depthwise_conv(jnp.zeros(x), jnp.zeros(w))
