"""Residual bytes against functions whose residuals are counted by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from nas_jax.memory import residual_bytes

Shape = jax.ShapeDtypeStruct
BATCH, IN, HIDDEN, OUT = 32, 8, 16, 4
PARAMS = {
    "first": Shape((IN, HIDDEN), jnp.float32),
    "second": Shape((HIDDEN, OUT), jnp.float32),
}
IMAGES = Shape((BATCH, IN), jnp.float32)


def network(params: Any, x: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["first"])
    return jnp.sum((hidden @ params["second"]) ** 2)


# The images for the gradient of `first`; tanh for that of `second`; tanh' and twice
# the output for the chain. `second` itself, which carries the chain on, is a parameter.
BY_HAND = 4 * (BATCH * IN + 2 * BATCH * HIDDEN + BATCH * OUT)


def test_two_layers_by_hand() -> None:
    assert residual_bytes(network, PARAMS, IMAGES) == BY_HAND


def test_an_inner_jit_changes_nothing() -> None:
    assert residual_bytes(jax.jit(network), PARAMS, IMAGES) == BY_HAND


def test_remat_keeps_the_images_alone() -> None:
    assert residual_bytes(jax.checkpoint(network), PARAMS, IMAGES) == 4 * BATCH * IN


def test_values_count_as_their_shapes_do() -> None:
    values = jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), (PARAMS, IMAGES))
    assert residual_bytes(network, *values) == BY_HAND


def test_half_the_bytes_in_half_precision() -> None:
    half = jax.tree.map(lambda s: Shape(s.shape, jnp.bfloat16), (PARAMS, IMAGES))
    assert residual_bytes(network, *half) == BY_HAND // 2


def test_an_array_that_is_needed_twice_counts_once() -> None:
    def loss(params: Any, x: jax.Array) -> jax.Array:
        return jnp.sum(x @ params["a"]) + jnp.sum(x @ params["b"])

    params = {"a": Shape((IN, 3), jnp.float32), "b": Shape((IN, 5), jnp.float32)}
    assert residual_bytes(loss, params, IMAGES) == 4 * BATCH * IN


@pytest.mark.parametrize("function", [network, jax.checkpoint(network)])
def test_no_more_than_the_leaves_of_the_pullback(function: Any) -> None:
    # The plain count, of which parameters have to be taken off.
    leaves = jax.tree.leaves(
        jax.eval_shape(
            lambda p, x: jax.vjp(lambda p: function(p, x), p)[1], PARAMS, IMAGES
        )
    )
    plain = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(PARAMS))
    counted = residual_bytes(function, PARAMS, IMAGES)
    assert plain - weights <= counted <= plain
