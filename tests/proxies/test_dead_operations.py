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
DEAD = ("reduce", 1, "sep_conv_3x3")
PROXIES = ("params", "nwot", "snip", "grad_norm")


def abstract_params(network: Supernet) -> Any:
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    return abstract_variables(network, images, zero_alphas(SPACE))["params"]


def without_rows(params: Any, small: SpaceMask) -> Any:
    """The parameters that a supernet of a smaller mask has, taken from the full one."""
    full = to_edges(Supernet(FULL, 2, 1, 3), params)
    network = Supernet(small, 2, 1, 3)
    return from_edges(network, abstract_params(network), full)


def scores(mask: SpaceMask, params: Any, live: Any, batch: Batch) -> jax.Array:
    network = scored_supernet(Supernet(mask, 2, 1, 3), params, live)
    return jnp.stack([get_proxy(name).score(network, batch) for name in PROXIES])


@pytest.fixture(scope="module")
def values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of everything, of everything with one dead, and of what is built less."""
    shapes = {"params": abstract_params(Supernet(FULL, 2, 1, 3))}
    params = init_variables(jax.random.key(1), shapes)["params"]
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
    batch = Batch(jnp.asarray(images, jnp.float32), jnp.array([0, 1, 2, 0]))
    live = {k: jnp.asarray(a) for k, a in leave_one_out(FULL, [DEAD]).items()}
    full = jax.jit(lambda p, live, b: scores(FULL, p, live, b))
    whole, dead = (
        np.asarray(full(params, {k: a[i] for k, a in live.items()}, batch))
        for i in range(2)
    )
    small = FULL.drop([DEAD])
    assert abstract_params(Supernet(small, 2, 1, 3)) != shapes["params"]
    built = jax.jit(lambda p, b: scores(small, p, small.arrays(), b))
    return whole, dead, np.asarray(built(without_rows(params, small), batch))


@pytest.mark.parametrize("index", range(len(PROXIES)), ids=PROXIES)
def test_dead_equals_not_built(
    index: int, values: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    whole, dead, built = values
    np.testing.assert_allclose(dead[index], built[index], rtol=1e-4)
    assert abs(whole[index] - dead[index]) > 1e-3 * abs(whole[index])


def test_params_drops_by_what_the_operation_has(
    values: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    # Channels double to 4 in the reduction cell: two 3x3 depthwise kernels of 4
    # channels and two 4x4 pointwise ones.
    whole, dead, _ = values
    assert whole[0] - dead[0] == 2 * (3 * 3 * 4 + 4 * 4)
