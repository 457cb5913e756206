"""A dead operation of a supernet counts as if it had never been built."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    from_edges,
    init_variables,
    to_edges,
    zero_alphas,
)
from nas_jax.proxies import Batch, get_proxy
from nas_jax.pruning import leave_one_out, scored_supernet
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
FULL = SpaceMask.full(SPACE)
KEY = jax.random.key(3)
# Compilation is what takes time here, not the tiny programs.
FAST = {"xla_backend_optimization_level": 0}
DEAD = ("reduce", 1, "sep_conv_3x3")
# By what they share, a program each.
GROUPS = (
    ("params", "flops", "l2_norm", "sep_convs"),
    ("snip", "grad_norm", "plain"),
    ("nwot", "nngp_eigen", "linear_regions"),
    ("nngp_cond", "nngp_frobenius", "nngp_mean", "nngp_lga"),
    ("synflow", "logsynflow"),
)
SLOW = (("grasp",), ("ntk_eigen",), ("zico",))


def abstract_params(network: Supernet) -> Any:
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    return abstract_variables(network, images, zero_alphas(SPACE))["params"]


def without_rows(params: Any, small: SpaceMask) -> Any:
    """The parameters that a supernet of a smaller mask has, taken from the full one."""
    full = to_edges(Supernet(FULL, 2, 1, 3), params)
    network = Supernet(small, 2, 1, 3)
    return from_edges(network, abstract_params(network), full)


def scores(
    names: tuple[str, ...], mask: SpaceMask, params: Any, live: Any, batch: Batch
) -> jax.Array:
    network = scored_supernet(Supernet(mask, 2, 1, 3), params, live)
    return jnp.stack([get_proxy(n).score(network, batch, KEY) for n in names])


@pytest.mark.parametrize(
    "names",
    [*GROUPS, *(pytest.param(names, marks=pytest.mark.slow) for names in SLOW)],
    ids=lambda names: "-".join(names),
)
def test_dead_equals_not_built(names: tuple[str, ...]) -> None:
    """Scores of everything, of everything with one dead, and of what is built less."""
    shapes = {"params": abstract_params(Supernet(FULL, 2, 1, 3))}
    params = init_variables(jax.random.key(1), shapes)["params"]
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
    batch = Batch(jnp.asarray(images, jnp.float32), jnp.array([0, 1, 2, 0]))
    live = {k: jnp.asarray(a) for k, a in leave_one_out(FULL, [DEAD]).items()}
    full = jax.jit(
        lambda p, live, b: scores(names, FULL, p, live, b), compiler_options=FAST
    )
    whole, dead = (
        np.asarray(full(params, {k: a[i] for k, a in live.items()}, batch))
        for i in range(2)
    )
    small = FULL.drop([DEAD])
    assert abstract_params(Supernet(small, 2, 1, 3)) != shapes["params"]
    built = jax.jit(
        lambda p, b: scores(names, small, p, small.arrays(), b), compiler_options=FAST
    )(without_rows(params, small), batch)
    for i, name in enumerate(names):
        np.testing.assert_allclose(dead[i], built[i], rtol=1e-4, err_msg=name)
        if name != "linear_regions":  # a small whole number
            assert abs(whole[i] - dead[i]) > 1e-3 * abs(whole[i]), name
        if name == "params":
            # Channels double to 4 in the reduction cell: two 3x3 depthwise kernels of
            # 4 channels and two 4x4 pointwise ones.
            assert whole[i] - dead[i] == 2 * (3 * 3 * 4 + 4 * 4)
        if name == "flops":  # each at 4x4 pixels
            assert whole[i] - dead[i] == 2 * (3 * 3 * 4 + 4 * 4) * 4 * 4
        if name == "sep_convs":
            assert whole[i] - dead[i] == 1
