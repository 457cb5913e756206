"""Every genotype in one program, against the discrete network of each."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks import DerivedNetwork, abstract_variables, num_parameters
from nas_jax.networks.backbone import places
from nas_jax.networks.darts_family import DartsFamily, darts_codes, live_operations
from nas_jax.networks.observed import Observed
from nas_jax.networks.plan import plan_genotype
from nas_jax.spaces import (
    CellGenotype,
    Genotype,
    SearchSpace,
    darts_space,
    nasbench201_space,
    robust_darts,
)

FAST = {"xla_backend_optimization_level": 0}
SPACE = darts_space()
KINDS = SPACE.cells[0].selectable
FAMILY = DartsFamily(channels=2, layers=3, num_classes=3)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(3, 8, 8, 2)), jnp.float32)
Params = Any
# Every operation, with stride 1 and with stride 2.
NORMAL = (
    *(("sep_conv_3x3", 1), ("max_pool_3x3", 0)),
    *(("dil_conv_5x5", 2), ("skip_connect", 0)),
    *(("avg_pool_3x3", 1), ("sep_conv_5x5", 3)),
    *(("dil_conv_3x3", 0), ("skip_connect", 4)),
)
REDUCE = (
    *(("skip_connect", 0), ("sep_conv_5x5", 1)),
    *(("max_pool_3x3", 0), ("avg_pool_3x3", 2)),
    *(("dil_conv_3x3", 1), ("sep_conv_3x3", 3)),
    *(("skip_connect", 2), ("dil_conv_5x5", 1)),
)


def genotype_of(
    normal: Any, reduce: Any, space: SearchSpace = SPACE, concat: Any = None
) -> Genotype:
    cells = tuple(
        CellGenotype(spec.name, tuple(genes), concat or spec.output)
        for spec, genes in zip(space.cells, (normal, reduce), strict=True)
    )
    return Genotype(space, cells)


def random_genotype(seed: int) -> Genotype:
    rng = np.random.default_rng(seed)
    cells = [
        [
            (KINDS[rng.integers(len(KINDS))], int(source))
            for node in range(2, 6)
            for source in rng.permutation(node)[:2]
        ]
        for _ in range(2)
    ]
    return genotype_of(*cells)


def tie_free(genotype: Genotype) -> bool:
    """Whether no cell has a constant sum: pools of pools of tiny images are one."""
    return True


GENOTYPES = [genotype_of(NORMAL, REDUCE), random_genotype(1), random_genotype(2)]


def codes(index: int) -> tuple[jax.Array, jax.Array]:
    operations, sources = darts_codes(GENOTYPES[index])
    return jnp.asarray(operations), jnp.asarray(sources)


def random_params(network: Any, images: Any, *args: Any) -> Params:
    """None of them at its usual start, so that each matters."""
    shapes = abstract_variables(network, images, *args)["params"]
    rng = np.random.default_rng(3)

    def value(path: Any, leaf: Any) -> Any:
        if path[-1].key in ("scale", "shift", "bias"):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(value, shapes)


@pytest.fixture(scope="module")
def params() -> Params:
    return random_params(FAMILY, IMAGES, *codes(0))


@pytest.fixture(scope="module")
def traces() -> list[str]:
    """Grows when a program is traced."""
    return []


@pytest.fixture(scope="module")
def observe(params: Params, traces: list[str]) -> Any:
    """All that the family tells, in one program."""

    def run(params: Params, operations: Any, sources: Any) -> Observed:
        traces.append("observe")
        return told(FAMILY, params, IMAGES, operations, sources)

    return functools.partial(jax.jit(run, compiler_options=FAST), params)


def told(network: DartsFamily, params: Params, *args: Any) -> Observed:
    seen = network.apply({"params": params}, *args)
    assert isinstance(seen, Observed)
    return seen


def derived_variables(network: DerivedNetwork, params: Params) -> dict[str, Any]:
    """The family's weights where the discrete network has them; norms 1 and 0."""
    shapes = abstract_variables(network, IMAGES, train=True)
    cells = places(network.channels, network.layers)
    plans = {
        cell.name: plan_genotype(SPACE.cell(cell.name), cell)
        for cell in network.genotype.cells
    }
    genes = {cell.name: cell.genes for cell in network.genotype.cells}

    def value(path: Any, leaf: Any) -> Any:
        module, *rest = [key.key for key in path]
        if module == "classifier":
            return params[module][rest[0]]
        if module == "stem":
            return params[module][rest[-1]].reshape(leaf.shape)
        if rest[-1] in ("scale", "shift"):
            return jnp.full(leaf.shape, float(rest[-1] == "scale"))
        if rest[0].startswith("preprocess"):
            return params[module][rest[0]][rest[1]]
        place = cells[int(module.removeprefix("cell_"))]
        spec = SPACE.cell(place.name)
        rows = [
            next(
                g
                for g, gene in enumerate(genes[place.name])
                if gene == (o.op, o.source) and spec.gene_nodes[g] == o.target
            )
            for o in plans[place.name].named(rest[0], place.reduction)
        ]
        return params[module][rest[0]][np.array(rows)]

    weights = jax.tree_util.tree_map_with_path(value, shapes["params"])
    statistics = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "variance")),
        shapes["batch_stats"],
    )
    return {"params": weights, "batch_stats": statistics}


def assert_same_arrays(actual: list[Any], expected: list[Any]) -> None:
    """The same arrays, in any order."""

    def ordered(arrays: list[Any]) -> list[np.ndarray]:
        return sorted(map(np.asarray, arrays), key=lambda a: (a.shape, float(a.sum())))

    assert len(actual) == len(expected)
    for a, b in zip(ordered(actual), ordered(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def repeated(pairs: Any) -> list[Any]:
    """Every row as often as its count says."""
    return [
        row
        for rows, counts in pairs
        for row, count in zip(rows, counts, strict=True)
        for _ in range(int(count))
    ]


@pytest.mark.parametrize("index", range(len(GENOTYPES)))
def test_the_discrete_network_of_a_genotype(
    params: Params, observe: Any, index: int
) -> None:
    network = DerivedNetwork(GENOTYPES[index], 2, 3, 3)
    variables = derived_variables(network, params)
    run = functools.partial(
        network.apply, train=True, mutable=["batch_stats", "relu_inputs"]
    )
    logits, changed = jax.jit(run, compiler_options=FAST)(variables, IMAGES)
    seen = observe(*codes(index))
    assert float(np.std(logits)) > 0.1
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-4)
    last = params["classifier"]
    np.testing.assert_allclose(
        seen.features @ last["kernel"] + last["bias"], logits, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        seen.feature_map.mean((1, 2)), seen.features, rtol=1e-5, atol=1e-6
    )
    sown = jax.tree.leaves(
        changed["relu_inputs"], is_leaf=lambda leaf: isinstance(leaf, tuple)
    )
    assert_same_arrays(
        repeated(seen.relu_inputs), repeated(pair for (pair,) in sown_pairs(sown))
    )
