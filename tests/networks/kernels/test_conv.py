from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nas_jax.networks.kernels.conv import (
    WIDE,
    conv,
    conv_by_rows,
    conv_by_xla,
    correlate_by_autodiff,
    correlate_by_patches,
)

CASES = [
    (1, 1, (4, 4)),
    (1, 2, (5, 4)),
    (3, 1, (4, 5)),
    (3, 2, (4, 4)),
    (3, 2, (5, 5)),
    (5, 1, (5, 3)),
    (5, 2, (4, 7)),
]
"""Kernel size, stride and image size."""
Conv = Callable[[jax.Array, jax.Array], jax.Array]


def arrays(k: int, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Three channels in and four out."""
    rng = np.random.default_rng(k)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(k, k, 3, 4)), jnp.float32)


def reference(stride: int) -> Conv:
    def convolve(x: jax.Array, w: jax.Array) -> jax.Array:
        pad = (w.shape[0] // 2,) * 2
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, (stride, stride), (pad, pad), dimension_numbers=numbers
        )

    return convolve


def by_loops(x: np.ndarray, w: np.ndarray, stride: int) -> np.ndarray:
    k, (height, width) = w.shape[0], x.shape[1:3]
    rows, columns = -(-height // stride), -(-width // stride)
    y = np.zeros((x.shape[0], rows, columns, w.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            for di in range(k):
                for dj in range(k):
                    row, column = i * stride + di - k // 2, j * stride + dj - k // 2
                    if 0 <= row < height and 0 <= column < width:
                        y[:, i, j] += x[:, row, column] @ w[di, dj]
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


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_values_and_both_derivatives(
    k: int, stride: int, size: tuple[int, int]
) -> None:
    x, w = arrays(k, size)
    ours = jax.jit(lambda x, w: derivatives(lambda a, b: conv(a, b, stride), x, w))
    expected = jax.jit(lambda x, w: derivatives(reference(stride), x, w))(x, w)
    for a, b in zip(ours(x, w), expected, strict=True):
        assert np.abs(b).max() > 1e-2
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_values_against_loops(k: int, stride: int, size: tuple[int, int]) -> None:
    x, w = arrays(k, size)
    expected = by_loops(np.asarray(x), np.asarray(w), stride)
    np.testing.assert_allclose(conv(x, w, stride), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_both_ways_to_correlate(k: int, stride: int, size: tuple[int, int]) -> None:
    x, _ = arrays(k, size)
    shape = (2, -(-size[0] // stride), -(-size[1] // stride), 4)
    y = jnp.asarray(np.random.default_rng(9).normal(size=shape), jnp.float32)
    a = jax.jit(correlate_by_patches, static_argnums=(0, 1))(stride, k, x, y)
    b = jax.jit(correlate_by_autodiff, static_argnums=(0, 1))(stride, k, x, y)
    assert a.shape == (k, k, 3, 4)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_both_ways_to_convolve(k: int, stride: int, size: tuple[int, int]) -> None:
    x, w = arrays(k, size)
    a = jax.jit(conv_by_rows, static_argnums=0)(stride, x, w)
    b = jax.jit(conv_by_xla, static_argnums=0)(stride, x, w)
    assert a.shape == b.shape == (2, -(-size[0] // stride), -(-size[1] // stride), 4)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [WIDE - 1, WIDE])
def test_the_channels_decide_how_to_convolve(channels: int) -> None:
    x, w = jnp.ones((1, 4, 4, channels)), jnp.ones((3, 3, channels, 2))
    traced = jax.jit(conv).trace(x, w)
    for platform in ("cpu", "cuda"):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        by_rows = channels < WIDE
        assert ("stablehlo.convolution" in program) != by_rows


def loss(x: Any, w: Any) -> Any:
    return jnp.sum(jnp.square(conv(x, w)))


def test_vectorised_derivative() -> None:
    x, w = arrays(3, (4, 4))
    gradients = jax.jit(jax.vmap(jax.grad(loss, 1), (0, None)))(
        jnp.stack([x, 2 * x]), w
    )
    np.testing.assert_allclose(gradients[0], jax.grad(loss, 1)(x, w), rtol=1e-4)
    np.testing.assert_allclose(gradients[1], 4 * gradients[0], rtol=1e-5)


def test_the_platform_decides_how_to_correlate() -> None:
    traced = jax.jit(jax.grad(loss, 1)).trace(*arrays(3, (4, 4)))

    def program(platform: str) -> str:
        return traced.lower(lowering_platforms=(platform,)).as_text()

    # An image at a time on a CPU; a convolution over the batch elsewhere.
    assert "stablehlo.while" in program("cpu")
    assert "stablehlo.while" not in program("cuda")


def test_bfloat16_stays_bfloat16() -> None:
    x, w = (a.astype(jnp.bfloat16) for a in arrays(3, (4, 4)))
    y, pull = jax.eval_shape(lambda x, w: jax.vjp(conv, x, w), x, w)
    assert y.dtype == jnp.bfloat16
    dx, dw = jax.eval_shape(lambda pull, y: pull(y), pull, y)
    assert dx.dtype == dw.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ((4, 4, 3), (3, 3, 3, 2), "do not fit"),
        ((1, 4, 4, 3), (3, 3, 2), "do not fit"),
        ((1, 4, 4, 3), (3, 3, 2, 3), "do not fit"),
        ((1, 4, 4, 3), (3, 5, 3, 2), r"square and odd; got \(3, 5\)"),
        ((1, 4, 4, 3), (2, 2, 3, 2), r"square and odd; got \(2, 2\)"),
    ],
)
def test_arrays_that_do_not_fit(
    x: tuple[int, ...], w: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        conv(jnp.zeros(x), jnp.zeros(w))
