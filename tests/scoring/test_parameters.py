"""The proxy `params` counts what the network that is trained later has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    get_network,
    num_parameters,
    zero_alphas,
)
from nas_jax.proxies import Batch, params
from nas_jax.pruning import scored_supernet
from nas_jax.scoring import get_family, sample_genotypes
from nas_jax.scoring.families import Darts
from nas_jax.spaces import Genotype, SpaceMask, darts_space

SIZE = (8, 8, 3)
IMAGE = jax.ShapeDtypeStruct((1, *SIZE), jnp.float32)
BATCH = Batch(jnp.zeros((2, *SIZE)), jnp.zeros(2, int))
KEY = jax.random.key(0)


def counted(family: Any, genotypes: list[Genotype]) -> list[int]:
    """From shapes alone, which all architectures share."""
    codes = family.encode(genotypes)
    each = [{n: array[i] for n, array in codes.items()} for i in range(len(genotypes))]
    shapes = abstract_variables(family.network, IMAGE, *each[0].values())["params"]
    return [int(params(family.scored(shapes, one), BATCH, KEY)) for one in each]


def test_published_counts(shared_data: Path) -> None:
    path = shared_data / "darts" / "named_genotypes.json"
    if not path.is_file():
        pytest.skip("needs named_genotypes.json in the shared data folder")
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    named = json.loads(path.read_text())
    family = Darts(36, 20, 10)
    genotypes = [
        Genotype.parse(family.space, json.dumps({f: entry[f] for f in fields}))
        for entry in named.values()
    ]
    found = dict(zip(named, counted(family, genotypes), strict=True))
    assert found == {name: e["params_c36_l20"] for name, e in named.items()}
    assert len(found) == 12 and found["DARTS_V1"] == 3_169_414


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_counts_of_the_networks_that_are_trained(name: str) -> None:
    family = get_family(name, channels=4, cells=3, num_classes=7)
    genotypes = sample_genotypes(family.space, 8, seed=0)
    for genotype, count in zip(genotypes, counted(family, genotypes), strict=True):
        network: Any = get_network(genotype, 4, 3, 7)
        shapes = abstract_variables(network, IMAGE, train=True)
        assert count == num_parameters(shapes)


def test_a_candidate_counts_what_its_supernet_is_built_of() -> None:
    """A supernet's normalisations have no parameters."""
    space = darts_space(2)
    mask = SpaceMask.full(space).drop(
        [("normal", 0, "sep_conv_3x3"), ("reduce", 3, "skip_connect")]
    )
    full, pruned = (Supernet(m, 4, 3, 7) for m in (SpaceMask.full(space), mask))
    shapes = [abstract_variables(n, IMAGE, zero_alphas(space)) for n in (full, pruned)]
    network = scored_supernet(full, shapes[0]["params"], mask.arrays())
    assert params(network, BATCH, KEY) == num_parameters(shapes[1])
