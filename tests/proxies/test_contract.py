"""What every registered proxy must do, on a supernet and on a hand-written model."""

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
from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.proxies import (
    Batch,
    Observed,
    ScoredNetwork,
    get_proxy,
    list_proxies,
    register_proxy,
)
from nas_jax.pruning import leave_one_out, scored_supernet
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2, ("none", "skip_connect", "sep_conv_3x3"))
KEY = jax.random.key(7)
# What the mean over the batch of a supernet's logits, which is constant, takes away.
FAIL = ["epe_nas", "jacov", "ntk_cond"]
# Compilation is what takes time here, not the tiny programs.
FAST = {"xla_backend_optimization_level": 0}


def groups() -> dict[str, list[str]]:
    """The other proxies by the intermediate that they share on a supernet."""
    result: dict[str, list[str]] = {}
    for name in list_proxies():
        if name not in [*FAIL, "grasp"]:
            result.setdefault(get_proxy(name).intermediate, []).append(name)
    return result


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
    assert len(list_proxies()) >= 23


@pytest.mark.parametrize("name", list_proxies())
def test_metadata(name: str) -> None:
    proxy = get_proxy(name)
    assert proxy.name == name
    assert callable(proxy.score)
    for flag in (proxy.higher_is_better, proxy.needs_labels, proxy.needs_gradient):
        assert isinstance(flag, bool)
    assert proxy.norm in ("batch", "identity")
    assert proxy.input_kind in ("data", "ones", "noise", "none")
    assert "arXiv" in proxy.reference
    assert set(proxy.needs) <= {*Observed._fields, "macs", "operations"}
    if proxy.input_kind != "data":
        assert not proxy.needs_labels
    if proxy.input_kind == "none":
        assert not proxy.needs_gradient and not proxy.intermediate
    else:
        assert proxy.intermediate


@pytest.mark.parametrize("name", list_proxies())
def test_the_docstring_cites(name: str) -> None:
    text = get_proxy(name).score.__doc__ or ""
    cited = set(re.findall(r"\d{4}\.\d{5}", text))
    assert cited >= set(re.findall(r"\d{4}\.\d{5}", get_proxy(name).reference))


def test_lower_is_better_where_the_source_says_so() -> None:
    lower = {n for n in list_proxies() if not get_proxy(n).higher_is_better}
    assert lower == {"nngp_lga", "ntk_cond", "plain"}


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
def test_on_a_hand_written_model(
    name: str, tiny: Any, plain_params: Any, batch: Batch
) -> None:
    score = get_proxy(name).score
    eager = score(tiny.network(plain_params), batch, KEY)
    assert eager.shape == () and eager.dtype == jnp.float32
    assert np.isfinite(eager) and eager != 0
    jitted = compiled(name, tiny)
    before = jitted._cache_size()
    rtol = tolerance(name, 1e-5)
    np.testing.assert_allclose(jitted(plain_params, batch, KEY), eager, rtol=rtol)
    other = jax.tree.map(lambda x: 2 * x + 1, plain_params)
    other_batch = Batch(batch.images[::-1] + 0.1, batch.labels[::-1])
    jitted(other, other_batch, jax.random.key(8))
    assert jitted._cache_size() <= before + 1
    # The compiled program is a function of its arguments, not of the first ones.
    expected = score(tiny.network(other), other_batch, KEY)
    np.testing.assert_allclose(
        jitted(other, other_batch, KEY), expected, rtol=tolerance(name, 1e-4)
    )


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


def check_candidates(
    names: list[str], supernet: Supernet, params: Any, batch: Batch
) -> Any:
    """Scores of three candidates, vmapped and looped: `[candidates, names]` each."""
    live = leave_one_out(
        supernet.mask, [("reduce", 0, "sep_conv_3x3"), ("reduce", 3, "skip_connect")]
    )
    live = {cell: jnp.asarray(array) for cell, array in live.items()}

    def score(params: Any, batch: Batch, live: Any) -> jax.Array:
        network = scored_supernet(supernet, params, live)
        return jnp.stack([get_proxy(n).score(network, batch, KEY) for n in names])

    one = jax.jit(score, compiler_options=FAST)
    looped = [
        one(params, batch, jax.tree.map(lambda a, i=i: a[i], live)) for i in range(3)
    ]
    assert one._cache_size() == 1
    together = jax.vmap(score, in_axes=(None, None, 0))
    vmapped = jax.jit(together, compiler_options=FAST)(params, batch, live)
    return np.asarray(vmapped), np.stack(looped)


@pytest.mark.parametrize(
    "names",
    [*groups().values(), pytest.param(["grasp"], marks=pytest.mark.slow)],
    ids=lambda names: "-".join(names),
)
def test_vmapped_over_candidates_equals_looped(
    names: list[str], supernet: Supernet, params: Any, batch: Batch
) -> None:
    vmapped, looped = check_candidates(names, supernet, params, batch)
    assert np.isfinite(vmapped).all()
    for i, name in enumerate(names):
        rtol = tolerance(name, 1e-4)
        np.testing.assert_allclose(vmapped[:, i], looped[:, i], rtol=rtol)
        # A convolution's removal shows in every proxy.
        if name != "linear_regions":  # a small whole number
            whole, without = vmapped[:2, i]
            assert abs(whole - without) > 1e-4 * abs(whole)


def test_rounding_errors_of_a_supernet_are_no_scores(
    supernet: Supernet, params: Any, batch: Batch
) -> None:
    # Every feature is a sum of normalised operations: its mean over the batch is 0.
    vmapped, looped = check_candidates(FAIL, supernet, params, batch)
    for scores in (vmapped, looped):
        assert np.isnan(scores[:, :2]).all()
        assert np.isposinf(scores[:, 2]).all()
