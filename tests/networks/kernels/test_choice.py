from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nas_jax.networks.kernels.choice import choose

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(3, 3)), jnp.float32)
PARAMS = {
    "scale": jnp.float32(1.7),
    "matrix": jnp.asarray(RNG.normal(size=(3, 3)), jnp.float32),
}


def by_scale(x: Any, params: Any, gate: Any) -> Any:
    return jnp.sin(x) * params["scale"], jnp.sum(x * x)


def by_matrix(x: Any, params: Any, gate: Any) -> Any:
    return jnp.tanh(x @ params["matrix"]), jnp.sum(jnp.cos(x) * params["scale"])


def identity(x: Any, params: Any, gate: Any) -> Any:
    return x, jnp.zeros(())


BRANCHES = [by_scale, by_matrix, identity]
INDICES = jnp.arange(3)
Function = Callable[..., Any]


def chosen(index: Any, x: Any, params: Any) -> Any:
    return choose(BRANCHES, index, x, params, None)


def switched(index: Any, x: Any, params: Any) -> Any:
    return lax.switch(index, BRANCHES, x, params, None)


def derivatives(function: Function, index: Any, x: Any, params: Any) -> Any:
    """Results, gradients and the gradients of a function of the gradients."""

    def loss(x: Any, params: Any) -> Any:
        first, second = function(index, x, params)
        return jnp.sum(jnp.sin(first)) * (2 + second)

    def outer(x: Any, params: Any) -> Any:
        gradients = jax.tree.leaves(jax.grad(loss, (0, 1))(x, params))
        return sum(jnp.sum(jnp.cos(g)) for g in gradients)

    return (
        function(index, x, params),
        jax.grad(loss, (0, 1))(x, params),
        jax.grad(outer, (0, 1))(x, params),
    )


def assert_close(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    """Of each branch, without a switch and with autodiff's own derivatives."""
    results = [
        derivatives(lambda i, x, p, b=branch: b(x, p, None), 0, X, PARAMS)
        for branch in BRANCHES
    ]
    for _, first, second in results[:2]:
        assert min(float(jnp.abs(g).max()) for g in (first[0], second[0])) > 0.1
    return results


@pytest.mark.parametrize("jit", [False, True])
def test_every_branch_with_two_derivatives(expected: list[Any], jit: bool) -> None:
    run = jax.jit(derivatives, static_argnums=0) if jit else derivatives
    for index in range(3):
        assert_close(run(chosen, jnp.int32(index), X, PARAMS), expected[index])


def test_an_index_out_of_range_is_clamped_as_in_a_switch() -> None:
    for index in (-1, 7):
        assert_close(chosen(index, X, PARAMS), switched(index, X, PARAMS))


def test_under_vmap_and_map(expected: list[Any]) -> None:
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *expected)
    xs = jnp.stack([X] * 3)

    def one(index: Any, x: Any) -> Any:
        return derivatives(chosen, index, x, PARAMS)

    def mapped(indices: Any, xs: Any) -> Any:
        return lax.map(lambda args: one(*args), (indices, xs))

    assert_close(jax.jit(jax.vmap(one))(INDICES, xs), stacked)
    assert_close(jax.jit(mapped)(INDICES, xs), stacked)


def test_in_a_loop() -> None:
    """Branches one after another, their parameters read from a stack."""
    params = jax.tree.map(lambda p: jnp.stack([p, 2 * p, 3 * p]), PARAMS)

    def run(function: Function, x: Any, params: Any) -> Any:
        def body(x: Any, step: Any) -> Any:
            index, own = step
            return function(index, x, own)

        result, extras = lax.scan(body, x, (INDICES, params))
        return jnp.sum(jnp.sin(result)) + jnp.sum(extras)

    def second(function: Function, x: Any, params: Any) -> Any:
        gradient = jax.grad(run, (1, 2))(function, x, params)
        return sum(jnp.sum(jnp.sin(g)) for g in jax.tree.leaves(gradient))

    both = [
        (
            jax.grad(run, (1, 2))(function, X, params),
            jax.grad(second, (1, 2))(function, X, params),
        )
        for function in (chosen, switched)
    ]
    assert_close(*both)


def test_nothing_but_the_arguments_is_stored() -> None:
    _, pull = jax.vjp(lambda x, p: chosen(INDICES[1], x, p), X, PARAMS)
    stored = sorted(leaf.size for leaf in jax.tree.leaves(pull))
    # The index, x, and both parameters.
    assert stored == [1, 1, 9, 9]
    _, pull = jax.vjp(lambda x, p: switched(INDICES[1], x, p), X, PARAMS)
    assert sum(leaf.size for leaf in jax.tree.leaves(pull)) > sum(stored)


def test_the_derivative_of_a_derivative_stores_no_more_of_each_branch() -> None:
    def gradient(function: Function) -> Any:
        def total(x: Any) -> Any:
            return jnp.sum(jnp.sin(function(INDICES[1], x, PARAMS)[0]))

        return jax.grad(total)

    def stored(function: Function) -> int:
        _, pull = jax.vjp(gradient(function), X)
        return sum(leaf.size for leaf in jax.tree.leaves(pull))

    assert stored(chosen) < stored(switched)
    chooses = operations(gradient(chosen), X).count("custom_vjp")
    # Two: the choice, and the choice of its derivatives.
    assert chooses == 2


def operations(function: Function, *args: Any) -> str:
    return str(jax.make_jaxpr(function)(*args))


def test_cotangents_that_nobody_asks_for_are_not_computed() -> None:
    def loss(x: Any, params: Any) -> Any:
        return jnp.sum(chosen(INDICES[1], x, params)[0])

    both = operations(jax.grad(loss, (0, 1)), X, PARAMS)
    one = operations(jax.grad(loss, 0), X, PARAMS)
    # Forward, forward again, and the transpose in each argument.
    assert both.count("dot_general[") == 4
    assert one.count("dot_general[") == 3


def test_results_that_nobody_reads_have_no_cotangent() -> None:
    def gradient(row: int) -> str:
        return operations(
            jax.grad(lambda x: jnp.sum(chosen(INDICES[1], x, PARAMS)[row])), X
        )

    # The derivative of the second result is a sine, of the first a product.
    assert gradient(1).count("neg") == 1
    assert gradient(0).count("neg") == 0
    assert gradient(1).count("dot_general[") == 2


def test_arguments_that_are_not_used_have_a_gradient_of_zero() -> None:
    gradient = jax.grad(lambda p: jnp.sum(chosen(INDICES[2], X, p)[0]))(PARAMS)
    assert_close(gradient, jax.tree.map(jnp.zeros_like, PARAMS))
