"""Linear regions against a set of patterns, and what is fed to the network."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch, Observed, ScoredNetwork, linear_regions_proxy
from nas_jax.proxies.regions import count_regions, random_crops

KEY = jax.random.key(0)


def test_count_regions_by_hand() -> None:
    # Codes 10, 11, 10, 10 (zero is not active): two regions. A second ReLU tells the
    # last from the first, a third does not count.
    first = jnp.array([[[1.0, 0.0], [2.0, 3.0], [5.0, -1.0], [1.0, -2.0]]])
    second = jnp.array([[1.0], [1.0], [1.0], [-1.0]])
    third = jnp.array([[1.0], [1.0], [-1.0], [1.0]])
    assert count_regions([(first, jnp.ones(1))]) == 2
    stack = jnp.stack([second, third])
    assert count_regions([(first, jnp.ones(1)), (stack, jnp.array([3.0, 0.0]))]) == 3
    assert count_regions([(first, jnp.ones(1)), (stack, jnp.ones(2))]) == 4


def test_count_regions_against_a_set() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 60, 2)), rng.normal(size=(1, 60, 1, 2))
    codes = np.concatenate([first[0], first[1], second[0].reshape(60, 2)], axis=1) > 0
    pairs = [(jnp.asarray(x), jnp.ones(len(x))) for x in (first, second)]
    distinct = len({tuple(code) for code in codes})
    assert 20 < distinct < 60
    assert count_regions(pairs) == distinct


def test_random_crops_are_parts_of_the_images() -> None:
    images = np.random.default_rng(0).normal(size=(3, 5, 6, 2)).astype(np.float32)
    crops = np.asarray(random_crops(KEY, jnp.asarray(images), 200, 3))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3, 3, 2)
    assert len(windows) == 3 * 3 * 4
    found = [np.flatnonzero((windows == crop).all((1, 2, 3))) for crop in crops]
    assert all(len(f) == 1 for f in found)
    # All of them are drawn, the first and the last too.
    assert len(np.unique(np.concatenate(found))) == len(windows)


@pytest.mark.parametrize("source", ["crops", "noise"])
def test_what_the_network_is_fed(source: Any) -> None:
    fed: list[np.ndarray] = []

    def observe(params: Any, images: Any, *, norm: str) -> Observed:
        assert norm == "batch"
        fed.append(np.asarray(images))
        # One ReLU that reads one pixel.
        return Observed(relu_inputs=[(images[None, :, :1, :1, 0], jnp.ones(1))])

    proxy = linear_regions_proxy("mine", samples=500, size=3, source=source)
    network = dataclasses.replace(
        ScoredNetwork.plain(lambda p, x, norm: x, {}), observe=observe
    )
    images = jnp.asarray(np.random.default_rng(1).uniform(2, 3, (2, 8, 8, 4)))
    batch = Batch(images.astype(jnp.float32), jnp.zeros(2, int))
    score = proxy.score(network, batch, KEY)
    (inputs,) = fed
    assert inputs.shape == (500, 3, 3, 4)
    if source == "crops":
        # All pixels are positive, so there is one region.
        assert score == 1 and inputs.min() >= 2
        assert proxy.input_kind == "data"
    else:
        assert score == 2 and abs(inputs.mean()) < 0.1 and abs(inputs.std() - 1) < 0.1
        assert proxy.input_kind == "noise"
    proxy.score(network, batch, jax.random.key(1))
    assert not np.array_equal(fed[0], fed[1])


def test_images_that_are_too_small(tiny: Any) -> None:
    batch = Batch(jnp.ones((2, 3, 8, 1)), jnp.zeros(2, int))
    proxy = linear_regions_proxy("mine")
    with pytest.raises(ConfigError, match="cannot cut 4x4 out of images of 3x8"):
        proxy.score(tiny.network(tiny.params(0)), batch, KEY)


def test_a_network_without_relus(tiny: Any) -> None:
    network = dataclasses.replace(
        tiny.network(tiny.params(0)),
        observe=lambda p, x, norm: Observed(relu_inputs=[]),
    )
    with pytest.raises(ConfigError, match="mine counts the regions that ReLUs cut"):
        linear_regions_proxy("mine").score(network, tiny.batch(), KEY)


@pytest.mark.parametrize("batches", [1, 2])
def test_a_relu_that_receives_nan_fails(batches: int) -> None:
    def score(count: float) -> float:
        def observe(params: Any, images: Any, *, norm: str) -> Observed:
            broken = jnp.full((1, len(images), 2), jnp.nan)
            pairs = [(images[None], jnp.ones(1)), (broken, jnp.full(1, count))]
            return Observed(relu_inputs=pairs)

        network = dataclasses.replace(
            ScoredNetwork.plain(lambda p, x, norm: x, {}), observe=observe
        )
        batch = Batch(jnp.ones((2, 8, 8, 1)), jnp.zeros(2, int))
        proxy = linear_regions_proxy("mine", samples=9, batches=batches)
        return float(proxy.score(network, batch, KEY))

    assert np.isnan(score(1.0))
    # Of an operation that the network does not have.
    assert score(0.0) == 1.0
