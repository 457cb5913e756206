"""Candidates of a supernet: a dead operation counts as if it had never been built."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Candidates,
    Size,
    Supernet,
    abstract_variables,
    from_edges,
    init_variables,
    to_edges,
)
from nas_jax.proxies import Batch, get_proxy, list_proxies
from nas_jax.pruning import leave_one_out
from nas_jax.scoring import scored_network
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
FULL = SpaceMask.full(SPACE)
DEAD = ("reduce", 1, "sep_conv_3x3")
SMALL = FULL.drop([DEAD])
KEY = jax.random.key(3)
# Compilation is what takes time here, not the tiny programs.
FAST = {"xla_backend_optimization_level": 0}
# What the mean over the batch of a supernet's logits, which is constant, takes away.
FAIL = ("epe_nas", "jacov", "ntk_cond")
SLOW = ("grasp", "ntk_eigen", "zico")


def programs() -> list[Any]:
    """The proxies that are scores here, by the intermediate that they share."""
    groups: dict[str, list[str]] = {}
    for name in list_proxies():
        if name not in FAIL:
            kind = name if name in SLOW else get_proxy(name).intermediate
            groups.setdefault(kind, []).append(name)
    return [
        pytest.param(
            names,
            id="-".join(names),
            marks=[pytest.mark.slow] if names[0] in SLOW else [],
        )
        for names in groups.values()
    ]


def abstract_params(mask: SpaceMask) -> Any:
    # One layer is one reduction cell, which has every kind of operation stacked.
    network, images = Supernet(mask, 2, 1, 3), jnp.zeros((2, 8, 8, 1))
    return abstract_variables(network, images)["params"]


@pytest.fixture(scope="module")
def params() -> Any:
    shapes = {"params": abstract_params(FULL)}
    return init_variables(jax.random.key(1), shapes)["params"]


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
    return Batch(jnp.asarray(images, jnp.float32), jnp.array([0, 1, 2, 0]))


def scores(names: Any, mask: SpaceMask, params: Any, live: Any, batch: Batch) -> Any:
    network = scored_network(Candidates(mask, Size(2, 1), 3), params, live)
    return jnp.stack([get_proxy(n).score(network, batch, KEY) for n in names])


def of_candidates(names: Any, params: Any, batch: Batch) -> np.ndarray:
    """Scores of all and of all but one operation, side by side: `[2, names]`."""
    live = {k: jnp.asarray(a) for k, a in leave_one_out(FULL, [DEAD]).items()}
    each = jax.vmap(lambda live: scores(names, FULL, params, live, batch))
    return np.asarray(jax.jit(each, compiler_options=FAST)(live))


@pytest.mark.parametrize("names", programs())
def test_dead_equals_not_built(names: list[str], params: Any, batch: Batch) -> None:
    whole, dead = of_candidates(names, params, batch)
    fewer = from_edges(
        Supernet(SMALL, 2, 1, 3),
        abstract_params(SMALL),
        to_edges(Supernet(FULL, 2, 1, 3), params),
    )
    # A program for one network, with the operation's parameters left out.
    built = jax.jit(
        lambda p, b: scores(names, SMALL, p, SMALL.arrays(), b), compiler_options=FAST
    )(fewer, batch)
    # Channels double to 4 in the reduction cell: two 3x3 depthwise kernels of 4
    # channels and two 4x4 pointwise ones, each at 4x4 pixels.
    weights = 2 * (3 * 3 * 4 + 4 * 4)
    lost = {"params": weights, "flops": weights * 4 * 4, "sep_convs": 1}
    for i, name in enumerate(names):
        rtol = 1e-3 if name in SLOW else 1e-4
        if name != "zen":  # draws a weight for each that there is
            np.testing.assert_allclose(dead[i], built[i], rtol=rtol, err_msg=name)
        if name != "linear_regions":  # a small whole number
            assert abs(whole[i] - dead[i]) > 1e-4 * abs(whole[i]), name
        if name in lost:
            assert whole[i] - dead[i] == lost[name]


def test_rounding_errors_of_a_supernet_are_no_scores(params: Any, batch: Batch) -> None:
    # Every feature is a sum of normalised operations: its mean over the batch is 0.
    found = of_candidates(FAIL, params, batch)
    assert np.isnan(found[:, :2]).all()
    assert np.isposinf(found[:, 2]).all()
