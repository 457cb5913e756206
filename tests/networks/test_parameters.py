"""Numbers of parameters, against the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from nas_jax.networks import (
    DerivedNetwork,
    Supernet,
    abstract_variables,
    num_parameters,
    zero_alphas,
)
from nas_jax.spaces import Genotype, SpaceMask, darts_space

SPACE = darts_space()
CIFAR = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
# cnn/genotypes.py of quark0/darts.
DARTS_V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 0), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def derived_parameters(text: str) -> int:
    network = DerivedNetwork(Genotype.parse(SPACE, text), 36, 20, 10)
    return num_parameters(abstract_variables(network, CIFAR, train=True))


def test_supernet_of_darts() -> None:
    network = Supernet(SpaceMask.full(SPACE), channels=16, layers=8, num_classes=10)
    abstract = abstract_variables(network, CIFAR, zero_alphas(SPACE))
    assert num_parameters(abstract) == 1_930_618
    assert set(abstract) == {"params"}


@pytest.mark.parametrize(
    ("text", "expected"), [(DARTS_V1, 3_169_414), (DARTS_V2, 3_349_342)]
)
def test_derived_networks_of_darts(text: str, expected: int) -> None:
    assert derived_parameters(text) == expected


@pytest.mark.slow
def test_all_named_genotypes(shared_data: Path) -> None:
    named = json.loads((shared_data / "darts" / "named_genotypes.json").read_text())
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    counts = {
        name: derived_parameters(json.dumps({f: entry[f] for f in fields}))
        for name, entry in named.items()
    }
    assert len(counts) == 12
    assert counts == {name: entry["params_c36_l20"] for name, entry in named.items()}
