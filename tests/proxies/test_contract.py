"""What every registered proxy must do, on a supernet and on a hand-written model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.proxies import (
    Batch,
    ScoredNetwork,
    get_proxy,
    list_proxies,
    register_proxy,
)
from nas_jax.pruning import leave_one_out, scored_supernet
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2, ("none", "skip_connect", "sep_conv_3x3"))
Score = Callable[[Any, Batch, Any], jax.Array]


def conv_mlp(params: Any, images: jax.Array, *, norm: str) -> jax.Array:
    hidden = jax.nn.relu(conv_layer(params, images))
    return jnp.mean(hidden, axis=(1, 2)) @ params["out"] + params["bias"]


def conv_layer(params: Any, images: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        images,
        params["conv"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def plain_network(params: Any) -> ScoredNetwork:
    network = ScoredNetwork.plain(conv_mlp, params)
    return dataclasses.replace(
        network,
        relu_inputs=lambda p, images: [(conv_layer(p, images)[None], jnp.ones(1))],
    )


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    return Batch(jnp.asarray(images), jnp.array([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def plain_params() -> Any:
    rng = np.random.default_rng(1)
    shapes = {"conv": (3, 3, 1, 4), "out": (4, 3), "bias": (3,)}
    return {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    # One layer is one reduction cell, which has every kind of operation stacked.
    return Supernet(SpaceMask.full(SPACE), 2, 1, 3)


@pytest.fixture(scope="module")
def params(supernet: Supernet) -> Any:
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    shapes = abstract_variables(supernet, images, zero_alphas(SPACE))
    return init_variables(jax.random.key(0), shapes)["params"]


def test_the_proxies_of_the_library_are_registered() -> None:
    assert list_proxies() == sorted(list_proxies())
    assert {"grad_norm", "nwot", "params", "snip", "synflow"} <= set(list_proxies())


@pytest.mark.parametrize("name", list_proxies())
def test_metadata(name: str) -> None:
    proxy = get_proxy(name)
    assert proxy.name == name
    assert callable(proxy.score)
    for flag in (proxy.higher_is_better, proxy.needs_labels, proxy.needs_gradient):
        assert isinstance(flag, bool)
    assert proxy.norm in ("batch", "identity")
    assert proxy.input_kind in ("data", "ones", "none")
    assert "arXiv" in proxy.reference
    if proxy.input_kind != "data":
        assert not proxy.needs_labels


@pytest.mark.parametrize("name", list_proxies())
def test_a_name_is_registered_once(name: str) -> None:
    before = get_proxy(name)
    with pytest.raises(ValueError, match=f"'{name}' is registered already"):
        register_proxy(dataclasses.replace(before, reference="another"))
    assert get_proxy(name) is before


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        get_proxy("snap")
    assert "'snap'" in str(error.value)
    assert all(name in str(error.value) for name in list_proxies())


@pytest.mark.parametrize("name", list_proxies())
def test_on_a_hand_written_model(name: str, plain_params: Any, batch: Batch) -> None:
    score = get_proxy(name).score
    eager = score(plain_network(plain_params), batch)
    assert eager.shape == () and eager.dtype == jnp.float32
    assert np.isfinite(eager) and eager != 0
    jitted = jax.jit(lambda p, b: score(plain_network(p), b))
    np.testing.assert_allclose(jitted(plain_params, batch), eager, rtol=1e-5)
    other = jax.tree.map(lambda x: 2 * x + 1, plain_params)
    other_batch = Batch(batch.images[::-1] + 0.1, batch.labels[::-1])
    jitted(other, other_batch)
    assert jitted._cache_size() == 1
    # The compiled program is a function of its arguments, not of the first ones.
    expected = score(plain_network(other), other_batch)
    np.testing.assert_allclose(jitted(other, other_batch), expected, rtol=1e-4)


@pytest.mark.parametrize("name", list_proxies())
def test_labels_matter_only_where_declared(
    name: str, plain_params: Any, batch: Batch
) -> None:
    proxy = get_proxy(name)
    network = plain_network(plain_params)
    other = Batch(batch.images, (batch.labels + 1) % 3)
    same = bool(proxy.score(network, batch) == proxy.score(network, other))
    assert same != proxy.needs_labels


@pytest.mark.parametrize("name", list_proxies())
def test_vmapped_over_candidates_equals_looped(
    name: str, supernet: Supernet, params: Any, batch: Batch
) -> None:
    live = leave_one_out(
        supernet.mask, [("reduce", 0, "sep_conv_3x3"), ("reduce", 3, "skip_connect")]
    )
    live = {cell: jnp.asarray(array) for cell, array in live.items()}
    proxy = get_proxy(name)

    def score(params: Any, batch: Batch, live: Any) -> jax.Array:
        return proxy.score(scored_supernet(supernet, params, live), batch)

    one = jax.jit(score)
    looped = [
        one(params, batch, jax.tree.map(lambda a, i=i: a[i], live)) for i in range(3)
    ]
    assert one._cache_size() == 1
    vmapped = jax.jit(jax.vmap(score, in_axes=(None, None, 0)))(params, batch, live)
    assert np.isfinite(vmapped).all()
    np.testing.assert_allclose(vmapped, looped, rtol=1e-4)
    # A convolution's removal shows in every proxy.
    assert abs(float(vmapped[0] - vmapped[1])) > 1e-4 * abs(float(vmapped[0]))
