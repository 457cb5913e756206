"""Counts by hand: multiply-accumulates, norms, separable convolutions."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.proxies import (
    Batch,
    ScoredNetwork,
    count_macs,
    flops,
    l2_norm,
    sep_convs,
)

KEY = jax.random.key(0)
X = jax.ShapeDtypeStruct((5, 7), jnp.float32)
W = jax.ShapeDtypeStruct((7, 7), jnp.float32)
ONE = 5 * 7 * 7


def test_flops_of_one_image(tiny: Any) -> None:
    # 8x8 pixels, 4 channels of 3x3x1 weights; a 4x3 classifier.
    macs = 8 * 8 * 4 * 9 + 4 * 3
    network = tiny.network(tiny.params(0))
    assert flops(network, tiny.batch(), KEY) == macs
    large = Batch(jnp.zeros((2, 16, 16, 1)), jnp.zeros(2, int))
    assert flops(network, large, KEY) == 16 * 16 * 4 * 9 + 4 * 3


def conv(x: Any, w: Any, **kw: Any) -> Any:
    return lax.conv_general_dilated(
        x, w, padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **kw
    )


@pytest.mark.parametrize(
    ("options", "kernel", "macs"),
    [
        ({"window_strides": (1, 1)}, (3, 3, 4, 6), 8 * 8 * 6 * 9 * 4),
        ({"window_strides": (2, 2)}, (3, 3, 4, 6), 4 * 4 * 6 * 9 * 4),
        # Grouped, depthwise and dilated ones: the weights that one output reads.
        (
            {"window_strides": (1, 1), "feature_group_count": 2},
            (3, 3, 2, 6),
            8 * 8 * 6 * 9 * 2,
        ),
        (
            {"window_strides": (1, 1), "feature_group_count": 4},
            (5, 5, 1, 4),
            8 * 8 * 4 * 25,
        ),
        (
            {"window_strides": (1, 1), "rhs_dilation": (2, 2)},
            (3, 3, 4, 6),
            8 * 8 * 6 * 9 * 4,
        ),
    ],
)
def test_convolutions(options: Any, kernel: Any, macs: int) -> None:
    image = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    weights = jax.ShapeDtypeStruct(kernel, jnp.float32)
    assert count_macs(lambda x, w: conv(x, w, **options), image, weights) == macs


def test_batched_products() -> None:
    left = jax.ShapeDtypeStruct((2, 3, 4, 5), jnp.float32)
    right = jax.ShapeDtypeStruct((2, 3, 5, 6), jnp.float32)
    assert count_macs(jnp.matmul, left, right) == 2 * 3 * 4 * 6 * 5


@jax.custom_vjp
def own_derivative(x: Any, w: Any) -> Any:
    return x @ w


own_derivative.defvjp(
    lambda x, w: (x @ w, (x, w)), lambda saved, g: (g @ saved[1].T, saved[0].T @ g)
)


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda x, w: jax.nn.relu(x) + 1, 0),
        (lambda x, w: jax.jit(jnp.dot)(jnp.dot(x, w), w), 2),
        (lambda x, w: jax.checkpoint(jnp.dot)(x, w), 1),
        (own_derivative, 1),
        (lambda x, w: jax.vmap(jnp.dot, (0, None))(x, w), 1),
        # Nested loops: 3 * (1 + 4).
        (
            lambda x, w: lax.fori_loop(
                0, 3, lambda i, y: lax.fori_loop(0, 4, lambda j, z: z @ w, y @ w), x
            ),
            15,
        ),
        (lambda x, w: lax.cond(x[0, 0] > 0, jnp.dot, lambda x, w: x @ w.T, x, w), 1),
        # Elementwise work on the CPU, a product elsewhere.
        (
            lambda x, w: lax.platform_dependent(
                x, w, cpu=lambda x, w: x + w[0], default=jnp.dot
            ),
            1,
        ),
        # A loop of unknown length that has nothing to count.
        (lambda x, w: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x) @ w, 1),
    ],
)
def test_inside_other_operations(function: Any, products: int) -> None:
    assert count_macs(function, X, W) == products * ONE


def test_a_loop_of_unknown_length_is_refused() -> None:
    def function(x: Any, w: Any) -> Any:
        return lax.while_loop(lambda y: jnp.sum(y) < 9, lambda y: y @ w, x)

    with pytest.raises(ConfigError, match="in a 'while', whose number of steps"):
        count_macs(function, X, W)


def test_branches_that_differ_are_refused() -> None:
    def function(x: Any, w: Any) -> Any:
        return lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

    with pytest.raises(ConfigError, match=rf"take \[0, {ONE}\] multiply-accumulates"):
        count_macs(function, X, W)


def test_l2_norm_is_the_sum_of_the_layers_norms() -> None:
    params = {
        "one": jnp.array([[3.0, 4.0]]),
        "two": jnp.array([[[5.0, 12.0]]]),
        "bias": jnp.array([100.0]),
    }
    network = ScoredNetwork.plain(lambda p, x, norm: x, params)
    assert l2_norm(network, Batch(X, X), KEY) == pytest.approx(5 + 13)


def test_sep_convs_are_two_kinds() -> None:
    network = ScoredNetwork.plain(lambda p, x, norm: x, {"w": jnp.ones((1, 1))})
    counts = {"sep_conv_3x3": 3, "sep_conv_5x5": np.int32(2), "dil_conv_3x3": 7}
    network = dataclasses.replace(network, operations=counts)
    assert sep_convs(network, Batch(X, X), KEY) == 5.0
    network = dataclasses.replace(network, operations={"skip_connect": 4})
    assert sep_convs(network, Batch(X, X), KEY) == 0.0
