"""Arrays that are not what a network takes them for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, MaskError
from nas_jax.networks import (
    DartsFamily,
    NasBench201Family,
    NasBench201Supernet,
    Supernet,
    abstract_variables,
    init_alphas,
    zero_alphas,
)
from nas_jax.spaces import SpaceMask, darts_space, nasbench201_space

SPACE = darts_space(1, ("none", "skip_connect", "sep_conv_3x3"))
BENCH = nasbench201_space()
IMAGES = jnp.zeros((2, 8, 8, 2))
KEY = jax.random.key(0)


def apply(name: str, weights: Any) -> Any:
    network: Any = Supernet(SpaceMask.full(SPACE), 2, 1, 3)
    if name == "nasbench201":
        network = NasBench201Supernet(SpaceMask.full(BENCH), 2, 1, 3)
    # The arrays are seen before the parameters are.
    return network.apply({"params": {}}, IMAGES, weights)


@pytest.mark.parametrize("name", ["supernet", "nasbench201"])
def test_weights_that_are_none(name: str) -> None:
    space = BENCH if name == "nasbench201" else SPACE
    cell = space.cells[0].name
    alphas = init_alphas(space, KEY)
    even = {n: jnp.full(a.shape, 1 / a.shape[1]) for n, a in alphas.items()}
    negative = {**even, cell: even[cell].at[1, :2].set(jnp.array([-0.5, 0.9]))}
    for wrong, said in (
        (alphas, "edge 0, .*mixture_weights"),
        (zero_alphas(space), "add up to 1"),
        ({n: jnp.ones_like(a) for n, a in alphas.items()}, "edge 0, .*add up to 1"),
        (negative, "edge 1, .*0 or more"),
        ({**even, cell: jnp.full(even[cell].shape, jnp.nan)}, "edge 0, .*nan"),
        ({**even, cell: even[cell].T}, r"shape .*; this network needs"),
        ({**even, "another": even[cell]}, "cells .*'another'"),
    ):
        with pytest.raises(MaskError, match=said):
            apply(name, wrong)


def test_variables_can_be_made_with_any_weights() -> None:
    network = Supernet(SpaceMask.full(SPACE), 2, 1, 3)
    assert set(network.init(KEY, IMAGES, zero_alphas(SPACE))) == {"params"}


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (np.array([0, 1, 2, 3, 4, 5]), "hold 5 at .*allowed: 0 to 4"),
        (np.array([0, -1, 2, 3, 4, 4]), "hold -1 at"),
        (np.array([[0, 1, 2, 3, 4, 4]]), r"integers \(6,\)"),
        (np.eye(6)[0], "dtype float64"),
    ],
)
def test_operations_that_are_none(codes: Any, said: str) -> None:
    family = NasBench201Family(2, 1, 3)
    with pytest.raises(ConfigError, match=said):
        family.apply({"params": {}}, IMAGES, codes)
    with pytest.raises(ConfigError, match=said):
        family.macs((8, 8, 2), codes)


def test_sources_that_do_not_exist() -> None:
    family = DartsFamily(2, 1, 3, SPACE)
    operations = jnp.zeros((2, 2), jnp.int32)
    for sources in (jnp.array([[0, 2], [0, 1]]), jnp.array([[0, 1], [0, -1]])):
        with pytest.raises(ConfigError, match="'sources' hold"):
            family.apply({"params": {}}, IMAGES, operations, sources)
        with pytest.raises(ConfigError, match="'sources' hold"):
            family.macs((8, 8, 2), operations, sources)
    # Known codes in a traced function.
    sources = jnp.array([[0, 1], [0, 1]])
    shapes = abstract_variables(family, IMAGES, operations, sources)
    jax.eval_shape(lambda p: family.apply(p, IMAGES, operations, sources), shapes)
