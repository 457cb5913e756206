"""What families take, and what they refuse."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.scoring import get_family, sample_genotypes
from nas_jax.scoring.families import Darts, Family
from nas_jax.spaces import (
    CellGenotype,
    Genotype,
    darts_space,
    nasbench201_space,
    robust_darts,
)

BENCH = get_family("nasbench201", channels=2, cells=1)
DARTS = get_family("darts", channels=2, cells=2)


@functools.cache
def params_of(family: Family) -> Any:
    return family.init(jax.random.key(0), (8, 8, 3))


def one(family: Family) -> Any:
    codes = family.encode(sample_genotypes(family.space, 1, seed=0))
    return {name: array[0] for name, array in codes.items()}


def test_codes_do_not_depend_on_how_a_genotype_is_listed() -> None:
    (genotype,) = sample_genotypes(DARTS.space, 1, seed=0)
    cells = [
        CellGenotype(c.name, (c.genes[1], c.genes[0], *c.genes[2:]), c.concat[::-1])
        for c in genotype.cells
    ]
    listed = Genotype(DARTS.space, tuple(cells))
    assert str(listed) != str(genotype)
    codes = DARTS.encode([genotype, listed])
    for array in codes.values():
        assert array.shape == (2, 2, 8) and array.dtype == np.int32
        np.testing.assert_array_equal(array[0], array[1])


@pytest.mark.parametrize("family", [BENCH, DARTS])
def test_no_genotype_has_no_codes(family: Family) -> None:
    assert all(len(array) == 0 for array in family.encode([]).values())


def test_genotypes_of_another_space_are_refused() -> None:
    # S4 and the DARTS space have equal shapes, but their operations have other names.
    noisy = Darts(2, 2, 10, robust_darts("s4").space)
    (genotype,) = sample_genotypes(noisy.space, 1, seed=0)
    with pytest.raises(GenotypeError, match="is no architecture of 'darts'; give"):
        DARTS.encode([genotype])
    with pytest.raises(GenotypeError, match="is no architecture of 'nasbench201'"):
        BENCH.encode([genotype])
    bench = sample_genotypes(nasbench201_space(), 1, seed=0)
    with pytest.raises(
        GenotypeError, match="'nasbench201' is no architecture of 'dart"
    ):
        DARTS.encode(bench)


@pytest.mark.parametrize(
    ("family", "name", "value", "message"),
    [
        (BENCH, "operations", np.full(6, 5), "hold 5 at (0,); allowed: 0 to 4"),
        (BENCH, "operations", np.arange(6) - 1, "hold -1 at (0,); allowed: 0 to 4"),
        (BENCH, "operations", np.zeros((3, 6), int), "integers (6,), a row of what"),
        (BENCH, "operations", np.eye(6)[0], "of dtype float64 and shape (6,); those"),
        (DARTS, "operations", np.full((2, 8), 7), "hold 7 at (0, 0); allowed: 0 to 6"),
        # The first gene's node is 2.
        (DARTS, "sources", np.full((2, 8), 2), "hold 2 at (0, 0); allowed: 0 to 1"),
        (DARTS, "sources", np.zeros((1, 2, 8), int), "shape (1, 2, 8); those of one"),
    ],
)
def test_what_is_no_code_is_refused(
    family: Family, name: str, value: np.ndarray, message: str
) -> None:
    codes = {**one(family), name: value}
    with pytest.raises(ConfigError) as error:
        family.scored(params_of(family), codes)
    assert message in str(error.value)


def test_traced_codes_are_checked_by_shape_alone() -> None:
    params = params_of(BENCH)

    def skips(codes: Any) -> jax.Array:
        counts = BENCH.scored(params, codes).operations
        assert counts is not None
        return counts["skip_connect"]

    assert jax.jit(skips)({"operations": jnp.ones(6, jnp.int32)}) == 6
    with pytest.raises(ConfigError, match="a row of what encode returns"):
        jax.jit(skips)({"operations": jnp.ones((2, 6), jnp.int32)})


@pytest.mark.parametrize("name", ["channels", "cells", "num_classes"])
def test_numbers_below_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0; it must be at least 1"):
        get_family("nasbench201", **{name: 0})


def test_usual_sizes() -> None:
    family = get_family("darts")
    assert isinstance(family, Darts) and family.space == darts_space()
    assert (family.network.channels, family.network.layers) == (16, 8)
