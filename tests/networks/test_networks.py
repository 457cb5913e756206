"""Networks of architectures: published numbers, statistics, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, GenotypeError, MaskError
from nas_jax.networks import (
    FAMILIES,
    Architectures,
    Size,
    Supernet,
    abstract_variables,
    check_size,
    family_of,
    init_variables,
    num_parameters,
    register_family,
)
from nas_jax.networks.darts.stack import places, reduction_layers
from nas_jax.proxies.layerwise import count_parameters
from nas_jax.spaces import (
    CellSpec,
    Genotype,
    SearchSpace,
    SpaceMask,
    darts_space,
    nasbench201_space,
)
from nas_jax.spaces.nasbench201 import genotype_of

FAST = {"xla_backend_optimization_level": 0}
SPACE = darts_space()
CIFAR = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
# cnn/genotypes.py of quark0/darts.
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


def test_supernet_of_darts() -> None:
    specs = abstract_variables(Supernet(SpaceMask.full(SPACE), 16, 8, 10), CIFAR)
    assert num_parameters(specs) == 1_930_618 and set(specs) == {"params"}


def test_network_of_darts() -> None:
    genotype = Genotype.parse(SPACE, DARTS_V2)
    network = family_of(SPACE).network(genotype, Size(36, 20), 10)
    assert num_parameters(abstract_variables(network, CIFAR)) == 3_349_342


def named(shared_data: Path) -> dict[str, Any]:
    path = shared_data / "darts" / "named_genotypes.json"
    if not path.is_file():
        pytest.skip("needs named_genotypes.json in the shared data folder")
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    found = {
        name: entry
        | {"genotype": Genotype.parse(SPACE, json.dumps({f: entry[f] for f in fields}))}
        for name, entry in json.loads(path.read_text()).items()
    }
    assert len(found) == 12
    return found


def parameters(network: Architectures, genotype: Genotype) -> int:
    """Parameters of an architecture, for CIFAR images."""
    module = family_of(network.space).coded(network.space, Size(36, 20), 10)
    codes = {n: jnp.asarray(a[0]) for n, a in network.encode([genotype]).items()}
    specs = abstract_variables(module, CIFAR)["params"]
    live = network.live(specs, codes)
    return int(count_parameters(live, specs) + network.unbuilt(codes))


def test_published_parameters_of_darts(shared_data: Path) -> None:
    network = Architectures(SPACE, Size(36, 20), 10)
    for name, entry in named(shared_data).items():
        assert parameters(network, entry["genotype"]) == entry["params_c36_l20"], name


def macs_of(
    network: Architectures, size: Size, image: Any, genotypes: list[Genotype]
) -> list[float]:
    """Multiply-accumulates of architectures for one image, in one program."""
    module = family_of(network.space).coded(network.space, size, 10)
    specs = abstract_variables(module, image)["params"]

    @jax.jit
    def macs(params: Any, codes: Any) -> jax.Array:
        return network.observe(params, codes, image, "running").macs

    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), specs)
    codes = network.encode(genotypes)
    rows = [{n: a[i] for n, a in codes.items()} for i in range(len(genotypes))]
    return [float(macs(params, row)) for row in rows]


def test_macs_by_hand() -> None:
    """Channels 4, a normal and a reduction cell, 8x8 images of 3 channels."""
    normal = [
        *(("sep_conv_3x3", 1), ("max_pool_3x3", 0)),
        *(("dil_conv_5x5", 2), ("skip_connect", 0)),
        *(("avg_pool_3x3", 1), ("sep_conv_5x5", 3)),
        *(("dil_conv_3x3", 0), ("skip_connect", 4)),
    ]
    reduce = [
        *(("skip_connect", 0), ("sep_conv_5x5", 1)),
        *(("max_pool_3x3", 0), ("avg_pool_3x3", 2)),
        *(("dil_conv_3x3", 1), ("sep_conv_3x3", 3)),
        *(("skip_connect", 2), ("dil_conv_5x5", 1)),
    ]
    genotype = Genotype.parse(SPACE, f"Genotype(normal={normal}, reduce={reduce})")
    stem = 9 * 3 * 12 * 64
    first = (12 + 12) * 4 * 64  # both inputs
    first += 2 * (9 * 4 + 4 * 4) * 64  # sep_conv_3x3
    first += (25 * 4 + 4 * 4) * 64  # dil_conv_5x5
    first += 2 * (25 * 4 + 4 * 4) * 64  # sep_conv_5x5
    first += (9 * 4 + 4 * 4) * 64  # dil_conv_3x3
    second = (12 + 16) * 8 * 64  # inputs, before they are halved
    second += 8 * 8 * 16  # skip_connect of an input; that of node 2 is free
    second += 2 * (25 * 8 + 8 * 8) * 16  # sep_conv_5x5, its first half halves
    second += (9 * 8 + 8 * 8) * 16  # dil_conv_3x3
    second += 2 * (9 * 8 + 8 * 8) * 16  # sep_conv_3x3
    second += (25 * 8 + 8 * 8) * 16  # dil_conv_5x5
    size = Size(4, 2)
    network = Architectures(SPACE, size, 10)
    (found,) = macs_of(network, size, jnp.zeros((1, 8, 8, 3)), [genotype])
    assert int(found) == stem + first + second + (32 + 1) * 10


@pytest.mark.slow
def test_published_macs_of_darts(shared_data: Path) -> None:
    size, entries = Size(36, 20), named(shared_data).values()
    genotypes = [entry["genotype"] for entry in entries]
    network = Architectures(SPACE, size, 10)
    found = macs_of(network, size, jnp.zeros((1, 32, 32, 3)), genotypes)
    # Three digits are given.
    published = [float(entry["conv_macs_m"]) for entry in entries]
    np.testing.assert_allclose(np.array(found) / 1e6, published, atol=6e-4, rtol=0)


@pytest.fixture(scope="module")
def table(shared_data: Path) -> list[dict[str, str]]:
    path = shared_data / "nb201" / "nb201_cifar10.csv.gz"
    if not path.is_file():
        pytest.skip("needs nb201_cifar10.csv.gz in the shared data folder")
    with gzip.open(path, "rt", newline="") as file:
        return [*csv.DictReader(file)][::97]


def test_published_counts_of_nasbench201(table: list[dict[str, str]]) -> None:
    space = nasbench201_space()
    network = Architectures(space, Size(16, 5), 10)
    genotypes = [Genotype.parse(space, row["arch_str"]) for row in table]
    codes = network.encode(genotypes)
    module = family_of(space).coded(space, Size(16, 5), 10)
    specs = abstract_variables(module, CIFAR)["params"]
    images = jnp.zeros((1, 32, 32, 3))

    def both(codes: Any) -> tuple[jax.Array, jax.Array]:
        params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), specs)
        macs = network.observe(params, codes, images, "running").macs
        return count_parameters(network.live(specs, codes), specs), macs

    with jax.enable_x64(True):
        params, macs = jax.jit(jax.vmap(both))(codes)
    expected = [
        np.rint([1e6 * float(row[name]) for row in table])
        for name in ("params_m", "macs_m")
    ]
    assert len(set(expected[0])) > 10
    np.testing.assert_array_equal(params, expected[0])
    np.testing.assert_array_equal(macs, expected[1])
    # The network that is trained has as many.
    for genotype, count in [*zip(genotypes, expected[0], strict=True)][::40]:
        trained = family_of(space).network(genotype, Size(16, 5), 10)
        assert num_parameters(abstract_variables(trained, CIFAR)) == count


IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 8, 3)), jnp.float32)
TINY = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"))
GENES = [
    *(("sep_conv_3x3", 0), ("skip_connect", 1)),
    *(("sep_conv_3x3", 2), ("avg_pool_3x3", 0)),
]
GENOTYPES = [
    Genotype.parse(TINY, f"Genotype(normal={GENES}, reduce={GENES})"),
    genotype_of(
        ("nor_conv_3x3", "none", "nor_conv_1x1", "avg_pool_3x3", "none", "nor_conv_3x3")
    ),
]


@pytest.mark.parametrize("genotype", GENOTYPES, ids=["darts", "nasbench201"])
def test_running_statistics(genotype: Genotype) -> None:
    network = family_of(genotype.space).network(genotype, Size(2, 2), 3)
    # Enough pixels in the last stage that Bessel's factor is near 1.
    images = jax.random.normal(jax.random.key(1), (16, 16, 16, 3))
    start = init_variables(jax.random.key(0), abstract_variables(network, images))

    @jax.jit
    def train(variables: Any) -> Any:
        return network.apply(variables, images, train=True, mutable=["batch_stats"])

    evaluate = jax.jit(lambda v: network.apply(v, images, train=False))
    variables = start
    for _ in range(200):
        logits, moved = train(variables)
        variables = variables | moved
    before, after = start["batch_stats"], variables["batch_stats"]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True):
        assert a.shape == b.shape and float(jnp.abs(a - b).max()) > 1e-4
    # Those of so many equal batches are those of the batch.
    np.testing.assert_allclose(evaluate(variables), logits, rtol=0.05, atol=0.05)
    assert not np.allclose(evaluate(start), logits, atol=0.1)
    # Nothing changes where nothing may.
    frozen = jax.jit(lambda v: network.apply(v, images, train=True))(start)
    np.testing.assert_allclose(frozen, train(start)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("genotype", GENOTYPES, ids=["darts", "nasbench201"])
def test_flax_makes_the_same_variables(genotype: Genotype) -> None:
    network = family_of(genotype.space).network(genotype, Size(2, 2), 3)
    specs = abstract_variables(network, IMAGES)
    made = jax.eval_shape(
        lambda k: network.init(k, IMAGES, train=True), jax.random.key(0)
    )
    shapes = jax.tree.map(lambda s: (s.shape, s.dtype), dict(made))
    assert shapes == jax.tree.map(lambda s: (s.shape, np.dtype(s.dtype)), specs)


def test_a_network_does_not_depend_on_how_its_genotype_is_listed() -> None:
    genotype = GENOTYPES[0]
    cells = tuple(
        dataclasses.replace(
            cell,
            genes=(*cell.genes[:2][::-1], *cell.genes[2:][::-1]),
            concat=cell.concat[::-1],
        )
        for cell in genotype.cells
    )
    found = []
    for one in (genotype, Genotype(TINY, cells)):
        network = family_of(TINY).network(one, Size(2, 3), 3)
        values = init_variables(jax.random.key(0), abstract_variables(network, IMAGES))
        run = jax.jit(lambda v, n=network: n.apply(v, IMAGES, train=True))
        found.append(run(values))
        codes = Architectures(TINY, Size(2, 3), 3).encode([one])
        found.append(codes["operations"].astype(float).sum() + codes["sources"].sum())
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    assert found[1] == found[3]


def test_concat_sets_the_width_of_the_classifier() -> None:
    cells = tuple(dataclasses.replace(c, concat=(3,)) for c in GENOTYPES[0].cells)
    genotype = Genotype(TINY, cells)
    network = family_of(TINY).network(genotype, Size(2, 3), 3)
    specs = abstract_variables(network, IMAGES)["params"]
    assert specs["classifier"]["kernel"].shape == (8, 3)
    with pytest.raises(GenotypeError, match=r"\(3,\); coded networks have \(2, 3\)"):
        Architectures(TINY, Size(2, 3), 3).encode([genotype])


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({"operations": [0, 0, 0, 0, 0, 5]}, r"hold 5 at \(5,\); allowed: 0 to 4"),
        ({"operations": [0, 0, 0, 0, 0]}, r"shape \(5,\); .* integers \(6,\)"),
        ({"operations": [[0] * 6]}, r"shape \(1, 6\)"),
        ({"operations": [0.0] * 6}, "dtype float32"),
        ({"ops": [0] * 6}, "codes lack 'operations'"),
    ],
)
def test_codes_that_are_none(codes: Any, said: str) -> None:
    network = Architectures(nasbench201_space(), Size(2, 1), 3)
    params = network.init(jax.random.key(0), (8, 8, 3))
    arrays = {name: jnp.asarray(value) for name, value in codes.items()}
    with pytest.raises(ConfigError, match=said):
        # Codes that are known, in a program that is only traced.
        jax.eval_shape(lambda p: network.observe(p, arrays, IMAGES, "batch"), params)


def test_where_cells_stand() -> None:
    assert [reduction_layers(n) for n in (1, 2, 3, 8, 20)] == [
        (0,),
        (1,),
        (1, 2),
        (2, 5),
        (6, 13),
    ]
    halving = [p.reduction for p in places(16, 8)]
    assert [i for i, h in enumerate(halving) if h] == [2, 5]
    assert [p.channels for p in places(16, 8)] == [16, 16, 32, 32, 32, 64, 64, 64]
    assert [p.reduce_first for p in places(16, 8)] == [False, *halving[:-1]]


@pytest.mark.parametrize(
    ("space", "size", "cells", "said"),
    [
        (SPACE, (6, 8), 8, r"6x8 .* multiples of 4, at least 8"),
        (SPACE, (32, 32), 1, r"--x is 1: it must be 2 or more for .*'darts'"),
        (nasbench201_space(), (6, 8), 5, r"6x8 .* multiples of 4"),
        (nasbench201_space(), (8, 8), 0, r"--x is 0: it must be 1 or more"),
    ],
)
def test_sizes_that_do_not_fit(space: Any, size: Any, cells: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_size(space, *size, cells, "--x")
    check_size(space, 32, 32, 8, "--x")


def test_spaces_without_networks() -> None:
    cell = CellSpec("normal", 2, 1, ((0, 2), (1, 2)), ("none", "conv_7x7"), 2)
    with pytest.raises(MaskError, match="no network computes conv_7x7 of .* 'mine'"):
        family_of(SearchSpace("mine", (cell,)))
    cell = dataclasses.replace(cell, ops=("none", "skip_connect"))
    with pytest.raises(ConfigError, match=r"'mine' has the cells \['normal'\]"):
        family_of(SearchSpace("mine", (cell,)))
    with pytest.raises(ConfigError, match="names the networks 'x'; allowed: darts"):
        family_of(SearchSpace("mine", (cell,), family="x"))
    with pytest.raises(ConfigError, match="is not NAS-Bench-201's"):
        family_of(SearchSpace("mine", (cell,), family="nasbench201"))


def test_a_family_is_registered_once() -> None:
    darts = FAMILIES["darts"]
    assert register_family(darts) is darts
    with pytest.raises(ConfigError, match="a family of networks 'darts' already"):
        register_family(dataclasses.replace(darts, min_cells=1))


def test_an_architecture_without_a_path_is_refused() -> None:
    nothing = genotype_of(("none",) * 6)
    with pytest.raises(GenotypeError, match="no path without 'none'"):
        family_of(nothing.space).network(nothing, Size(2, 1), 3)
    index = family_of(nothing.space).facts(GENOTYPES[1])["nasbench201_index"]
    assert 0 <= index < 15_625
    assert family_of(SPACE).facts(GENOTYPES[0]) == {}


def test_initial_values() -> None:
    """PyTorch's default: uniform within fan_in^-1/2, biases and shifts 0, scales 1."""
    network = Supernet(SpaceMask.full(TINY), 8, 2, 10)
    specs = abstract_variables(network, IMAGES)
    values, again = (init_variables(jax.random.key(0), specs) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, values, again)
    params = values["params"]
    kernel = np.asarray(params["cell_0"]["sep_conv_3x3"]["depthwise_0"])
    assert np.abs(kernel).max() <= 1 / 3 and np.abs(kernel).max() > 0.3
    point = np.asarray(params["cell_0"]["sep_conv_3x3"]["pointwise_0"])
    assert np.abs(point).max() <= 8**-0.5 and abs(point.mean()) < 0.05
    assert point.std() == pytest.approx(8**-0.5 / 3**0.5, rel=0.1)
    assert (params["classifier"]["bias"] == 0).all()
    assert (params["stem"]["norm"]["scale"] == 1).all()
    with jax.enable_x64(True):
        wide = init_variables(jax.random.key(0), specs)
    jax.tree.map(np.testing.assert_array_equal, values, wide)
