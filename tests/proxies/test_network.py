"""Scores of any apply function, and what proxies of one network share."""

from __future__ import annotations

import dataclasses
import doctest
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nas_jax.proxies
from nas_jax.proxies import (
    Batch,
    ScoredNetwork,
    failures,
    flops,
    get_proxy,
    grad_norm,
    logsynflow,
    params,
    snip,
    synflow,
)

KEY = jax.random.key(0)


def test_the_example_of_the_package() -> None:
    result = doctest.testmod(nas_jax.proxies)
    assert result.attempted >= 7 and result.failed == 0


class FlaxModel(nn.Module):
    norm: str

    @nn.compact
    def __call__(self, images: Any) -> Any:
        x = nn.Conv(4, (3, 3), use_bias=False)(images)
        if self.norm == "batch":
            x = nn.BatchNorm(use_running_average=False)(x)
        return nn.Dense(3)(nn.relu(x).mean((1, 2)))


def test_a_flax_model() -> None:
    images = jax.random.normal(KEY, (4, 6, 6, 2))
    batch = Batch(images, jnp.array([0, 1, 2, 0]))
    weights = FlaxModel("batch").init(KEY, images)["params"]

    def logits(params: Any, images: Any, *, norm: Any) -> Any:
        out, _ = FlaxModel(norm).apply(
            {"params": params}, images, mutable=["batch_stats"]
        )
        return out

    network = ScoredNetwork.plain(logits, weights)
    assert params(network, batch, KEY) == 9 * 2 * 4 + 2 * 4 + 4 * 3 + 3
    assert flops(network, batch, KEY) == 6 * 6 * 9 * 2 * 4 + 4 * 3
    # Kernels and the scale of the normalisation, not its bias nor the layers'.
    rows = nas_jax.proxies.ntk.weight_gradients(network, batch)
    assert rows.shape == (4, 9 * 2 * 4 + 4 + 4 * 3)
    names = ("jacov", "ntk_cond", "snip", "synflow")

    @jax.jit
    def scores(weights: Any, batch: Batch) -> Any:
        network = ScoredNetwork.plain(logits, weights)
        return [get_proxy(name).score(network, batch, KEY) for name in names]

    assert np.isfinite(scores(weights, batch)).all()


def gradient_norms(network: ScoredNetwork, batch: Batch) -> Any:
    return jnp.stack([grad_norm(network, batch, KEY), snip(network, batch, KEY)])


def test_one_network_in_several_traces(tiny: Any) -> None:
    """What one of them computed and left is nothing to the others."""
    batch, weights = tiny.batch(), tiny.params(0)
    expected = gradient_norms(tiny.network(weights), batch)
    network = tiny.network(weights)
    scales = jnp.array([1.0, 2.0])

    def scaled(scale: Any) -> Any:
        return scale * gradient_norms(network, batch)

    together = np.outer(scales, expected)
    for _ in range(2):
        for run in (lambda: gradient_norms(network, batch), jax.jit(lambda: scaled(1))):
            np.testing.assert_allclose(run(), expected, rtol=1e-5)
        for mapped in (jax.vmap(scaled), jax.jit(jax.vmap(scaled))):
            np.testing.assert_allclose(mapped(scales), together, rtol=1e-5)
    # The batch itself may be traced, and a trace may lie within another.
    inner = jax.jit(lambda b: jax.jit(lambda: gradient_norms(network, b))())
    np.testing.assert_allclose(inner(batch), expected, rtol=1e-5)
    outer = jax.jit(lambda b: (inner(b), gradient_norms(network, b)))
    for value in outer(batch):
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient_norms(network, batch), expected, rtol=1e-5)


def test_a_copy_with_other_weights_shares_nothing(tiny: Any) -> None:
    network, batch = tiny.network(tiny.params(0)), tiny.batch()
    before = grad_norm(network, batch, KEY)
    other = dataclasses.replace(network, params=tiny.params(1))
    expected = grad_norm(tiny.network(tiny.params(1)), batch, KEY)
    assert grad_norm(other, batch, KEY) == expected != before
    assert grad_norm(network, batch, KEY) == before


def deep(params: Any, images: Any, *, norm: str) -> Any:
    x = images.reshape(len(images), -1)
    for w in params:
        x = x @ w
    return x


def test_synflow_that_overflows_says_so_and_float64_holds_it() -> None:
    # Twenty 1x1 layers of weight 100: R = 1e40, and each layer's share is R.
    batch = Batch(jnp.ones((1, 1, 1, 1)), jnp.zeros(1, int))
    weights = [jnp.full((1, 1), -100.0, jnp.float32)] * 20
    single = synflow(ScoredNetwork.plain(deep, weights), batch, KEY)
    (reason,) = failures(single)
    assert reason is not None and reason.startswith("infinite")
    with jax.enable_x64(True):
        double = synflow(ScoredNetwork.plain(deep, weights), batch, KEY)
        assert double.dtype == jnp.float64
        assert double == pytest.approx(20 * 1e40)


def test_logsynflow_by_hand() -> None:
    # |W| = 2 and 3 on a one: R = 6, dR/dW = 3 and 2.
    weights = [jnp.array([[-2.0]]), jnp.array([[3.0]])]
    batch = Batch(jnp.full((1, 1, 1, 1), 5.0), jnp.zeros(1, int))
    expected = 2 * np.log(4) + 3 * np.log(3)
    assert logsynflow(ScoredNetwork.plain(deep, weights), batch, KEY) == pytest.approx(
        expected
    )
