"""Codes of genotypes, and what is counted from them: layers, parameters, MACs."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import GenotypeError
from nas_jax.networks import DerivedNetwork, abstract_variables, num_parameters
from nas_jax.networks.darts_family import DartsFamily, darts_codes, live_operations
from nas_jax.spaces import Genotype, darts_space

SPACE = darts_space()
# Every operation, with stride 1 and with stride 2.
NORMAL = [
    *(("sep_conv_3x3", 1), ("max_pool_3x3", 0)),
    *(("dil_conv_5x5", 2), ("skip_connect", 0)),
    *(("avg_pool_3x3", 1), ("sep_conv_5x5", 3)),
    *(("dil_conv_3x3", 0), ("skip_connect", 4)),
]
REDUCE = [
    *(("skip_connect", 0), ("sep_conv_5x5", 1)),
    *(("max_pool_3x3", 0), ("avg_pool_3x3", 2)),
    *(("dil_conv_3x3", 1), ("sep_conv_3x3", 3)),
    *(("skip_connect", 2), ("dil_conv_5x5", 1)),
]
GENOTYPES = [
    Genotype.parse(SPACE, f"Genotype(normal={normal}, reduce={reduce})")
    for normal, reduce in ((NORMAL, REDUCE), (REDUCE, NORMAL))
]
Params = Any


def codes(index: int) -> tuple[jax.Array, jax.Array]:
    operations, sources = darts_codes(GENOTYPES[index])
    return jnp.asarray(operations), jnp.asarray(sources)


def count_live(family: DartsFamily, params: Params, genotype: Genotype) -> int:
    live = live_operations(family, params, *darts_codes(genotype))
    assert jax.tree.structure(live) == jax.tree.structure(params)
    return sum(
        int(jnp.sum(alive)) * math.prod(leaf.shape[alive.ndim :])
        for alive, leaf in zip(*map(jax.tree.leaves, (live, params)), strict=True)
    )


@pytest.mark.parametrize("index", range(len(GENOTYPES)))
def test_parameters_of_a_genotype(index: int) -> None:
    """Those of the discrete network, but for the norms inside its cells."""
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    family = DartsFamily(6, 5, 10)
    params = abstract_variables(family, image, *codes(index))["params"]
    derived = DerivedNetwork(GENOTYPES[index], 6, 5, 10)
    shapes = abstract_variables(derived, image, train=True)
    norms = sum(
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"])
        if path[0].key != "stem" and path[-1].key in ("scale", "shift")
    )
    assert norms > 0
    expected = num_parameters(shapes) - norms
    assert count_live(family, params, GENOTYPES[index]) == expected


def test_live_layers_can_be_traced() -> None:
    family = DartsFamily(2, 2, 3)
    image = jnp.zeros((1, 8, 8, 2))
    params = abstract_variables(family, image, *codes(0))["params"]
    live = jax.jit(functools.partial(live_operations, family, params))(*codes(0))
    cell = live["cell_0"]
    # In the order of the sources: the second gene as it is listed is the first.
    assert cell["sep_conv_3x3_depthwise_0"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert cell["sep_conv_5x5_pointwise_1"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert cell["preprocess_0"]["pointwise"].tolist() == [1]
    # Only the skip connection that reads an input halves the image.
    even = live["cell_1"]["skip_connect_pointwise_even"]
    assert even.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert live["stem"]["kernel"].shape == live["classifier"]["bias"].shape == ()


def test_macs_by_hand() -> None:
    """Channels 4, a normal and a reduction cell, 8x8 images of 3 channels."""
    stem = 9 * 3 * 12 * 64
    normal = (12 + 12) * 4 * 64  # both inputs
    normal += 2 * (9 * 4 + 4 * 4) * 64  # sep_conv_3x3
    normal += (25 * 4 + 4 * 4) * 64  # dil_conv_5x5
    normal += 2 * (25 * 4 + 4 * 4) * 64  # sep_conv_5x5
    normal += (9 * 4 + 4 * 4) * 64  # dil_conv_3x3
    reduce = (12 + 16) * 8 * 64  # inputs, before they are halved
    reduce += 8 * 8 * 16  # skip_connect of an input; that of node 2 is free
    reduce += 2 * (25 * 8 + 8 * 8) * 16  # sep_conv_5x5, its first half halves
    reduce += (9 * 8 + 8 * 8) * 16  # dil_conv_3x3
    reduce += 2 * (9 * 8 + 8 * 8) * 16  # sep_conv_3x3
    reduce += (25 * 8 + 8 * 8) * 16  # dil_conv_5x5
    classifier = (32 + 1) * 10
    macs = jax.jit(functools.partial(DartsFamily(4, 2, 10).macs, (8, 8, 3)))(*codes(0))
    assert macs.shape == () and macs.dtype == jnp.float32
    assert int(macs) == stem + normal + reduce + classifier


def test_macs_of_published_genotypes(shared_data: Path) -> None:
    path = shared_data / "darts" / "named_genotypes.json"
    if not path.is_file():
        pytest.skip("needs named_genotypes.json in the shared data folder")
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    named = json.loads(path.read_text())
    for entry in named.values():
        text = json.dumps({field: entry[field] for field in fields})
        codes = darts_codes(Genotype.parse(SPACE, text))
        macs = DartsFamily(36, 20, 10).macs((32, 32, 3), *codes)
        # Three digits are given.
        published = float(entry["conv_macs_m"])
        assert float(macs) / 1e6 == pytest.approx(published, abs=6e-4)
    assert len(named) == 12


def test_codes() -> None:
    operations, sources = darts_codes(GENOTYPES[0])
    assert operations.dtype == sources.dtype == np.int32
    kinds = SPACE.cells[0].selectable
    cells = [
        [
            gene
            for i in range(0, 8, 2)
            for gene in sorted(genes[i : i + 2], key=by_source)
        ]
        for genes in (NORMAL, REDUCE)
    ]
    assert cells[0] != NORMAL
    found = [[kinds[i] for i in row] for row in operations]
    assert found == [[op for op, _ in genes] for genes in cells]
    assert sources.tolist() == [[s for _, s in genes] for genes in cells]


def by_source(gene: tuple[str, int]) -> int:
    return gene[1]


def test_codes_do_not_depend_on_how_a_genotype_is_listed() -> None:
    genotype = GENOTYPES[0]
    cells = [
        dataclasses.replace(cell, concat=cell.concat[::-1])
        for cell in genotype.canonical().cells
    ]
    again = Genotype(SPACE, tuple(cells))
    assert str(again) != str(genotype)
    for one, other in zip(darts_codes(genotype), darts_codes(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_codes_of_a_genotype_with_another_output() -> None:
    cells = [dataclasses.replace(cell, concat=(2, 4, 5)) for cell in GENOTYPES[0].cells]
    genotype = Genotype(SPACE, tuple(cells))
    with pytest.raises(GenotypeError, match=r"\(2, 4, 5\); .*\(2, 3, 4, 5\)"):
        darts_codes(genotype)
