"""A cell as a loop: second derivatives, what is not computed, and reduced precision."""

from __future__ import annotations

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    mixture_weights,
    zero_alphas,
)
from nas_jax.networks.cell import Remat
from nas_jax.networks.supernet import Dtype
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2, ("none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"))
MASK = SpaceMask.full(SPACE)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(4, 8, 8, 2)), jnp.float32)
TARGET = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
ALPHAS = {c.name: jnp.asarray(RNG.normal(size=(5, 4)), "float32") for c in SPACE.cells}


def supernet(remat: Remat, dtype: Dtype = "float32") -> Supernet:
    return Supernet(MASK, 2, 1, 3, remat=remat, dtype=dtype)


@pytest.fixture(scope="module")
def params() -> Any:
    shapes = abstract_variables(supernet("op"), IMAGES, zero_alphas(SPACE))
    return init_variables(jax.random.key(0), shapes)["params"]


def loss(network: Supernet, params: Any, alphas: Any) -> jax.Array:
    weights = mixture_weights(alphas, MASK.arrays())
    logits = network.apply({"params": params}, IMAGES, weights)
    assert isinstance(logits, jax.Array)
    return jnp.mean(jnp.square(logits - TARGET))


def test_second_derivatives(params: Any) -> None:
    """What grasp and second-order DARTS need: the gradient of a gradient's product."""
    results = []
    for remat in ("none", "op"):
        value = functools.partial(loss, supernet(remat))

        def product(params: Any, alphas: Any, value: Any = value) -> jax.Array:
            gradient = jax.grad(value)(params, alphas)
            return sum(jnp.sum(jnp.sin(g)) for g in jax.tree.leaves(gradient))

        results.append(jax.jit(jax.grad(product, (0, 1)))(params, ALPHAS))
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(results[0])) > 1e-2
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_the_loop_does_not_grow_with_the_edges() -> None:
    """Twice the operations, the same number of them in the program."""

    def convolutions(nodes: int) -> int:
        space = darts_space(nodes, ("none", "sep_conv_3x3"))
        network = Supernet(SpaceMask.full(space), 2, 3, 3, remat="op")
        shapes = abstract_variables(network, IMAGES, zero_alphas(space))
        weights = zero_alphas(space)
        text = jax.jit(network.apply).lower(shapes, IMAGES, weights).as_text()
        return int(text.count("stablehlo.dot_general"))

    assert convolutions(2) == convolutions(4)


@pytest.mark.parametrize("argument", [0, 1])
def test_gradients_that_nobody_asks_for_are_not_computed(
    params: Any, argument: int
) -> None:
    def flops(arguments: Any) -> float:
        gradient = jax.grad(functools.partial(loss, supernet("op")), arguments)
        analysis = jax.jit(gradient).lower(params, ALPHAS).compile().cost_analysis()
        assert analysis is not None
        return float(analysis["flops"])

    both, one = flops((0, 1)), flops(argument)
    # The alphas' gradient is one product with what is there already.
    assert one < (1 if argument == 0 else 0.85) * both


def test_bfloat16_is_close_and_leaves_parameters_alone(params: Any) -> None:
    gradients = []
    for dtype in ("float32", "bfloat16"):
        value = functools.partial(loss, supernet("op", dtype))
        gradients.append(jax.jit(jax.value_and_grad(value, (0, 1)))(params, ALPHAS))
    (a, exact), (b, rounded) = gradients
    assert a.dtype == b.dtype == jnp.float32
    assert float(b) == pytest.approx(float(a), rel=0.05)
    assert float(a) != float(b)
    for x, y in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert y.dtype == jnp.float32
        if float(jnp.linalg.norm(x)) > 1e-3:
            cosine = jnp.vdot(x, y) / jnp.linalg.norm(x) / jnp.linalg.norm(y)
            assert float(cosine) > 0.97


def test_convolutions_compute_in_bfloat16(params: Any) -> None:
    for remat in ("op", "wave"):
        network = supernet(remat, "bfloat16")
        text = jax.jit(network.apply).lower(
            {"params": params}, IMAGES, mixture_weights(ALPHAS, MASK.arrays())
        )
        # Only 1x1 convolutions are products over a stack.
        pattern = r"stablehlo\.dot_general.*batching_dims = \[0\].*"
        products = re.findall(pattern, text.as_text())
        assert len(products) > 3
        assert all("bf16" in line and "f32" not in line for line in products)
