"""Every proxy on the supernet of NAS-Bench-201, and dead operations of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    NasBench201Supernet,
    abstract_variables,
    init_variables,
    nasbench201,
    nasbench201_supernet,
    zero_alphas,
)
from nas_jax.networks.nasbench201_supernet import kept_edges
from nas_jax.proxies import Batch, get_proxy, list_proxies
from nas_jax.pruning.scored_nasbench201 import scored_nasbench201
from nas_jax.spaces import NASBENCH201_OPS, SpaceMask, nasbench201_space

SPACE = nasbench201_space()
FULL = SpaceMask.full(SPACE)
NONE, SKIP, CONV1, CONV3, POOL = NASBENCH201_OPS
# What is pruned to two operations on an edge is quick to compile and has every kind.
MASK = SpaceMask(
    SPACE,
    (
        (
            (SKIP, CONV3),
            (CONV1, CONV3),
            (NONE, POOL),
            (SKIP, CONV1),
            (SKIP, CONV3),
            (POOL, CONV1),
        ),
    ),
)
DEAD = ("cell", 1, CONV3)
KEY = jax.random.key(3)
FAST = {"xla_backend_optimization_level": 0}
BATCH = Batch(
    jnp.asarray(np.random.default_rng(0).normal(size=(6, 8, 8, 3)), jnp.float32),
    jnp.array([0, 1, 2, 0, 1, 2]),
)
# No network of NAS-Bench-201 has such an operation: they count none.
ZERO = ("sep_convs",)
# Read images of a size or number of channels of their own.
OWN_IMAGES = tuple(n for n in list_proxies() if n.startswith("thin_"))
# A program each: its own is large, and another part would make it no smaller.
SLOW = ("grasp", "zico")
ALONE = ("grasp", "zico", "ntk_cond", "ntk_eigen", "fisher", "zen")


def groups() -> list[tuple[str, ...]]:
    """Proxies by what they share, a program each."""
    found: dict[Any, list[str]] = {}
    for name in list_proxies():
        if name not in ZERO + OWN_IMAGES:
            proxy = get_proxy(name)
            kind = name if name in ALONE else (proxy.intermediate, proxy.norm)
            found.setdefault(kind, []).append(name)
    return [tuple(names) for names in found.values()]


@pytest.fixture(scope="module", autouse=True)
def two_stages() -> Iterator[None]:
    """Two stages have every kind of layer, and compile in two thirds of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (nasbench201, nasbench201_supernet):
            patch.setattr(module, "STAGES", 2)
        yield


def network(mask: SpaceMask) -> NasBench201Supernet:
    return NasBench201Supernet(mask, channels=3, cells=1, num_classes=3)


@functools.cache
def params() -> Any:
    shapes = abstract_variables(network(MASK), BATCH.images, zero_alphas(SPACE))
    return init_variables(jax.random.key(1), shapes)["params"]


def scores(
    names: tuple[str, ...], mask: SpaceMask, params: Any, live: Any, batch: Batch
) -> jax.Array:
    scored = scored_nasbench201(network(mask), params, live)
    return jnp.stack([get_proxy(n).score(scored, batch, KEY) for n in names])


def without_dead(params: Any) -> Any:
    """The parameters of a supernet in which the dead operation is not built."""
    rows = np.array([edge != DEAD[1] for edge in kept_edges(MASK, CONV3)])
    return {
        name: {k: v[:, rows] for k, v in leaves.items()}
        if name.endswith(CONV3)
        else leaves
        for name, leaves in params.items()
    }


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(names, marks=[pytest.mark.slow] * (names[0] in SLOW))
        for names in groups()
    ],
    ids=lambda names: "-".join(names),
)
def test_every_proxy_has_a_value(names: tuple[str, ...]) -> None:
    """Of the whole, and of the whole without one operation, in one program."""
    score = jax.jit(functools.partial(scores, names, MASK), compiler_options=FAST)
    smaller = MASK.drop([DEAD])
    lives = [MASK.arrays(), smaller.arrays()]
    whole, dead = (np.asarray(score(params(), live, BATCH)) for live in lives)
    assert score._cache_size() == 1
    assert np.isfinite([whole, dead]).all(), (whole, dead)
    assert (whole != 0).all()
    for name, one, other in zip(names, whole, dead, strict=True):
        if name != "linear_regions":  # a small whole number
            assert abs(one - other) > 1e-5 * abs(one), name


@pytest.mark.parametrize(
    "names",
    [
        ("params", "flops", "l2_norm", "sep_convs"),
        ("synflow",),
        ("nwot", "linear_regions"),
        ("fisher",),
        pytest.param(("snip", "grad_norm"), marks=pytest.mark.slow),
    ],
    ids=lambda names: "-".join(names),
)
def test_dead_equals_not_built(names: tuple[str, ...]) -> None:
    smaller = MASK.drop([DEAD])
    dead = jax.jit(functools.partial(scores, names, MASK), compiler_options=FAST)(
        params(), smaller.arrays(), BATCH
    )
    built = jax.jit(functools.partial(scores, names, smaller), compiler_options=FAST)(
        without_dead(params()), smaller.arrays(), BATCH
    )
    np.testing.assert_allclose(dead, built, rtol=1e-4)


def test_size_by_hand() -> None:
    scored = scored_nasbench201(network(MASK), params(), MASK.arrays())
    stem = 9 * 3 * 3 + 2 * 3
    # C to 2C and 2C to 2C with normalisation, and the shortcut.
    block = 9 * 3 * 6 + 9 * 6 * 6 + 2 * 2 * 6 + 3 * 6
    # 3 edges of either convolution in a cell of each stage, without normalisation.
    cells = sum(3 * (1 + 9) * c * c for c in (3, 6))
    ends = 2 * 6 + (6 + 1) * 3
    count = get_proxy("params").score(scored, BATCH, KEY)
    assert float(count) == stem + block + cells + ends
    assert scored.operations is not None
    expected = {NONE: 1, SKIP: 3, CONV1: 3, CONV3: 3, POOL: 2}
    assert {op: int(n) for op, n in scored.operations.items()} == expected
    less = MASK.drop([DEAD]).arrays()
    smaller = scored_nasbench201(network(MASK), params(), less)
    flops = [get_proxy("flops").score(s, BATCH, KEY) for s in (scored, smaller)]
    # 3x3 at 8x8 and 4x4 pixels: a quarter of them with twice the channels.
    assert float(flops[0] - flops[1]) == 9 * 3 * 3 * 64 * 2
