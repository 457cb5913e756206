"""Parameters and MACs of the published networks against the benchmark's table."""

from __future__ import annotations

import csv
import functools
import gzip
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import abstract_variables
from nas_jax.networks.nasbench201 import NasBench201Family, live_operations
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import (
    NASBENCH201_OPS,
    nasbench201_space,
    operations_of,
)


@pytest.fixture(scope="module")
def table(shared_data: Path) -> dict[str, np.ndarray]:
    """Published parameters and MACs of all architectures, and these as data."""
    path = shared_data / "nb201" / "nb201_cifar10.csv.gz"
    if not path.is_file():
        pytest.skip("needs nb201_cifar10.csv.gz in the shared data folder")
    with gzip.open(path, "rt", newline="") as file:
        rows = [*csv.DictReader(file)][::97]
    genotypes = [Genotype.parse(nasbench201_space(), row["arch_str"]) for row in rows]
    codes = [[NASBENCH201_OPS.index(o) for o in operations_of(g)] for g in genotypes]
    return {
        "operations": np.array(codes, np.int32),
        "params": np.rint([1e6 * float(row["params_m"]) for row in rows]),
        "macs": np.rint([1e6 * float(row["macs_m"]) for row in rows]),
    }


def test_parameter_counts_of_the_benchmark(table: dict[str, np.ndarray]) -> None:
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    family = NasBench201Family()
    params = abstract_variables(family, image, jnp.zeros(6, jnp.int32))["params"]
    live = jax.vmap(functools.partial(live_operations, params))(table["operations"])
    total = np.zeros(len(table["params"]))
    for leaf, alive in zip(*map(jax.tree.leaves, (params, live)), strict=True):
        layers = np.asarray(alive, np.float64).reshape(len(total), -1).sum(1)
        total += layers * math.prod(leaf.shape[alive.ndim - 1 :])
    assert len(total) > 100 and len(set(total)) > 10
    np.testing.assert_array_equal(total, table["params"])


def test_macs_of_the_benchmark(table: dict[str, np.ndarray]) -> None:
    count = functools.partial(NasBench201Family().macs, (32, 32, 3))
    with jax.enable_x64(True):
        exact = jax.jit(jax.vmap(count))(table["operations"])
        assert exact.dtype == jnp.float64 and len(set(exact.tolist())) > 10
        np.testing.assert_array_equal(exact, table["macs"])
    np.testing.assert_allclose(jax.vmap(count)(table["operations"]), exact, rtol=1e-6)
