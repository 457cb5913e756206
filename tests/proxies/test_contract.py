"""What every registered proxy must do, on a hand-written model."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.proxies import (
    Batch,
    Observed,
    ScoredNetwork,
    get_proxy,
    list_proxies,
    register_proxy,
)

KEY = jax.random.key(7)
# Compilation is what takes time here, not the tiny programs.
FAST = {"xla_backend_optimization_level": 0}


# Rounding that a formula enlarges: by the condition number, by a quotient of
# differences, by differences of logits that are nearly the same.
LOOSE = {"grasp": 1e-3, "jacov": 1e-3, "ntk_cond": 1e-3, "zen": 1e-4, "zico": 1e-3}


def trace(name: str, network: ScoredNetwork, batch: Batch) -> Any:
    """The score's shape and dtype; nothing is compiled or run."""
    return jax.eval_shape(lambda: get_proxy(name).score(network, batch, KEY))


def tolerance(name: str, least: float) -> float:
    return max(least, LOOSE.get(name, 0.0))


@pytest.fixture(scope="module")
def batch(tiny: Any) -> Batch:
    whole: Batch = tiny.batch()
    return Batch(whole.images[:4], whole.labels[:4])


@pytest.fixture(scope="module")
def plain_params(tiny: Any) -> Any:
    return tiny.params(1)


@functools.cache
def compiled(name: str, tiny: Any) -> Any:
    """The proxy as a function of weights, batch and key."""
    score = get_proxy(name).score
    return jax.jit(lambda p, b, k: score(tiny.network(p), b, k), compiler_options=FAST)


@pytest.mark.parametrize("name", list_proxies())
def test_it_says_what_it_is(name: str) -> None:
    proxy = get_proxy(name)
    assert proxy.name == name
    assert proxy.title and proxy.meaning and proxy.cost
    assert "arXiv" in proxy.reference
    # The docstring cites what the registry does.
    cited = set(re.findall(r"\d{4}\.\d{5}", proxy.score.__doc__ or ""))
    assert cited >= set(re.findall(r"\d{4}\.\d{5}", proxy.reference))
    if proxy.input_kind != "data":
        assert not proxy.needs_labels
    # What only counts shares nothing.
    assert (proxy.input_kind == "none") == (not proxy.intermediate)


def test_lower_is_better_where_the_source_says_so() -> None:
    lower = {n for n in list_proxies() if not get_proxy(n).higher_is_better}
    assert lower == {"nngp_lga", "ntk_cond", "plain"}


def test_every_kernel_between_images_is_told() -> None:
    kernels = {"jacov", "epe_nas", "nwot", "ntk_cond", "ntk_eigen"}
    kernels |= {name for name in list_proxies() if name.startswith("nngp_")}
    assert {n for n in list_proxies() if get_proxy(n).compares_images} == kernels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "'snip' is registered already; give it another"),
        ({"name": ""}, "'' is no name"),
        ({"name": "snap", "needs": ("colour",)}, "needs 'colour', .* allowed: logits"),
        (None, "is no Proxy; register Proxy"),
    ],
)
def test_what_cannot_be_registered(change: Any, words: str) -> None:
    before = get_proxy("snip")
    wrong: Any = (
        before.score if change is None else dataclasses.replace(before, **change)
    )
    with pytest.raises(ConfigError, match=words):
        register_proxy(wrong)
    assert get_proxy("snip") is before and "snap" not in list_proxies()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        get_proxy("snap")
    assert "'snap'" in str(error.value)
    assert list_proxies() == sorted(list_proxies())
    assert all(name in str(error.value) for name in list_proxies())


@pytest.mark.parametrize("name", list_proxies())
def test_on_a_hand_written_model(
    name: str, tiny: Any, plain_params: Any, batch: Batch
) -> None:
    jitted = compiled(name, tiny)
    first = jitted(plain_params, batch, KEY)
    assert first.shape == () and first.dtype == jnp.float32
    assert np.isfinite(first) and first != 0
    programs = jitted._cache_size()
    # The compiled program is a function of its arguments, not of the first ones.
    params = jax.tree.map(lambda x: 2 * x + 1, plain_params)
    other = Batch(batch.images[::-1] + 0.1, batch.labels[::-1])
    eager = get_proxy(name).score(tiny.network(params), other, KEY)
    rtol = tolerance(name, 1e-4)
    np.testing.assert_allclose(jitted(params, other, KEY), eager, rtol=rtol)
    assert jitted._cache_size() == programs


@pytest.mark.parametrize("name", list_proxies())
def test_what_is_declared_matters_and_nothing_else(
    name: str, tiny: Any, plain_params: Any, batch: Batch
) -> None:
    proxy, score = get_proxy(name), compiled(name, tiny)
    value = score(plain_params, batch, KEY)
    assert value == score(plain_params, batch, jax.random.key(7))
    # Other pairs of images are of one class, not only other names for the same pairs.
    labels = Batch(batch.images, jnp.array([0, 1, 1, 2]))
    assert (value != score(plain_params, labels, KEY)) == proxy.needs_labels
    # A whole number may be the same by accident; see the tests of the regions.
    if name != "linear_regions":
        images = Batch(tiny.batch(5).images[:4], batch.labels)
        read = proxy.input_kind == "data"
        assert (value != score(plain_params, images, KEY)) == read
        other = score(plain_params, batch, jax.random.key(8))
        assert (value != other) == (proxy.input_kind == "noise")
    # Two equal images make a kernel singular, and matter to nothing else.
    twice = jax.tree.map(lambda x: x[jnp.array([0, 1, 2, 2])], batch)
    copied = score(plain_params, twice, KEY)
    if name in ("nwot", "ntk_cond"):
        assert not np.isfinite(copied)
    elif not proxy.compares_images:
        assert np.isfinite(copied)


@pytest.mark.parametrize("name", list_proxies())
def test_refuses_a_network_that_cannot_tell(
    name: str, tiny: Any, plain_params: Any, batch: Batch
) -> None:
    proxy = get_proxy(name)
    network = tiny.network(plain_params)
    for field in proxy.needs:

        def silent(*args: Any, field: str = field, **kw: Any) -> Observed:
            return tiny.observe(*args, **kw)._replace(**{field: None})

        changes: dict[str, Any] = {"observe": silent}
        if field in ("macs", "operations"):
            changes = {field: None}
        with pytest.raises(ConfigError, match=f"{name} needs '{field}'") as error:
            trace(name, dataclasses.replace(network, **changes), batch)
        others = str(error.value).split("does without: ")[1].split(", ")
        assert others == [n for n in list_proxies() if field not in get_proxy(n).needs]
    blind = dataclasses.replace(network, observe=None, macs=None, operations=None)
    if proxy.needs:
        with pytest.raises(ConfigError, match=f"{name} needs '{proxy.needs[0]}'"):
            trace(name, blind, batch)
    else:
        assert trace(name, blind, batch).shape == ()


@pytest.mark.parametrize("name", list_proxies())
def test_needs_no_more_than_declared(
    name: str, tiny: Any, plain_params: Any, batch: Batch
) -> None:
    proxy = get_proxy(name)

    def told(*args: Any, **kw: Any) -> Observed:
        seen = tiny.observe(*args, **kw)._asdict()
        return Observed(**{f: v for f, v in seen.items() if f in proxy.needs})

    network = tiny.network(plain_params)
    least = dataclasses.replace(
        network,
        observe=told,
        macs=network.macs if "macs" in proxy.needs else None,
        operations=network.operations if "operations" in proxy.needs else None,
    )
    assert trace(name, least, batch).shape == ()


@pytest.mark.parametrize("name", list_proxies())
def test_vmapped_over_weights_equals_looped(name: str, tiny: Any, batch: Batch) -> None:
    each = [tiny.params(seed) for seed in (1, 2, 3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    score = compiled(name, tiny)
    vmapped = jax.vmap(score, in_axes=(0, None, None))(stacked, batch, KEY)
    looped = [score(params, batch, KEY) for params in each]
    np.testing.assert_allclose(vmapped, looped, rtol=tolerance(name, 1e-4))
    if name not in ("flops", "linear_regions", "params", "sep_convs", "zen"):
        assert len(np.unique(vmapped)) == 3
