"""Every genotype in one program, against the discrete network of each."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import DerivedNetwork, abstract_variables
from nas_jax.networks.backbone import places
from nas_jax.networks.darts_family import DartsFamily, darts_codes
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
from tests.networks.told import assert_same_arrays, repeated

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


def genotype_of(normal: Any, reduce: Any, space: SearchSpace = SPACE) -> Genotype:
    cells = tuple(
        CellGenotype(spec.name, tuple(genes), spec.output)
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
    space = network.genotype.space
    shapes = abstract_variables(network, IMAGES, train=True)
    cells = places(network.channels, network.layers)
    plans = {
        cell.name: plan_genotype(space.cell(cell.name), cell)
        for cell in network.genotype.cells
    }
    # The family's rows are in the canonical order, whatever that of the genotype.
    genes = {cell.name: cell.genes for cell in network.genotype.canonical().cells}

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
        spec = space.cell(place.name)
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
    expected = repeated(pair for calls in sown for pair in calls)
    assert_same_arrays(repeated(seen.relu_inputs), expected)
    variances = batch_variances(changed["batch_stats"])
    assert_same_arrays(repeated(seen.variances), variances)


def batch_variances(statistics: Any) -> list[Any]:
    """The variances of the batch, from running ones that started at 1."""
    # Pixels of preprocessing and of operations, of a normal and two reduction cells.
    pixels = {"cell_0": (64, 64), "cell_1": (64, 16), "cell_2": (16, 4)}
    rows: list[Any] = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(statistics):
        module, part, *_ = [key.key for key in path]
        if path[-1].key == "variance":
            inside = module != "stem" and part.startswith("wave")
            count = 3 * pixels.get(module, (64, 64))[inside]
            rows += [*((leaf - 0.9) / 0.1 * (count - 1) / count)]
    return rows


def test_one_program_for_all_genotypes(observe: Any, traces: list[str]) -> None:
    logits = []
    for seed in range(10):
        pair = darts_codes(random_genotype(seed + 10))
        logits.append(np.asarray(observe(*map(jnp.asarray, pair)).logits))
    assert traces == ["observe"]
    assert len({row.tobytes() for row in logits}) == 10


def test_vmap_equals_one_after_another(params: Params, observe: Any) -> None:
    pairs = [codes(index) for index in range(len(GENOTYPES))]
    operations, sources = map(jnp.stack, zip(*pairs, strict=True))

    @functools.partial(jax.jit, compiler_options=FAST)
    @functools.partial(jax.vmap, in_axes=(None, 0, 0))
    def together(params: Params, operations: Any, sources: Any) -> Any:
        return told(FAMILY, params, IMAGES, operations, sources).logits

    expected = np.stack([observe(*pair).logits for pair in pairs])
    actual = together(params, operations, sources)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


# Each kind of layer, and fewer of them in the program.
SMALL = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
SMALL_GENES = (
    *(("sep_conv_3x3", 0), ("skip_connect", 1)),
    *(("dil_conv_5x5", 2), ("skip_connect", 0)),
)
SMALL_GENOTYPE = genotype_of(SMALL_GENES, SMALL_GENES, SMALL)


@pytest.mark.parametrize("norm", ["identity", "running"])
def test_without_statistics_of_the_batch(norm: Any) -> None:
    """ "running" statistics are 0 and 1, which is nothing but a division."""
    network = DartsFamily(2, 3, 3, SMALL, norm)
    pair = tuple(map(jnp.asarray, darts_codes(SMALL_GENOTYPE)))
    params = random_params(network, IMAGES, *pair)
    run = jax.jit(functools.partial(told, network), compiler_options=FAST)
    seen = run(params, IMAGES, *pair)
    derived = DerivedNetwork(SMALL_GENOTYPE, 2, 3, 3)
    variables = derived_variables(derived, params)
    if norm == "identity":
        # With the epsilon of the normalisation the variance is 1.
        variables["batch_stats"] = jax.tree.map(
            lambda leaf: leaf * (1 - 1e-5), variables["batch_stats"]
        )
        # The stem's factors are not read either.
        norm_params = variables["params"]["stem"]["norm"]
        assert float(jnp.abs(norm_params["scale"] - 1).max()) > 0.1
        norm_params["scale"] = jnp.ones_like(norm_params["scale"])
        norm_params["shift"] = jnp.zeros_like(norm_params["shift"])
    evaluate = functools.partial(derived.apply, train=False)
    logits = jax.jit(evaluate, compiler_options=FAST)(variables, IMAGES)
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4)
    for variances, _ in seen.variances:
        assert set(np.unique(variances)) <= {0.0, 1.0}


def test_unread_outputs_are_not_computed(params: Params) -> None:
    def compiled(function: Any) -> Any:
        jitted = jax.jit(function, compiler_options=FAST)
        return jitted.lower(params, *codes(0)).compile()

    run = functools.partial(told, FAMILY)
    everything = compiled(lambda p, *pair: run(p, IMAGES, *pair))
    logits = compiled(lambda p, *pair: run(p, IMAGES, *pair).logits)
    # What the second ReLUs of the first cell's 8 genes receive.
    assert "f32[8,3,8,8,2]" in everything.as_text()
    assert "f32[8,3,8,8,2]" not in logits.as_text()
    for cost in ("flops", "bytes accessed"):
        assert logits.cost_analysis()[cost] < everything.cost_analysis()[cost]


def test_images_that_cannot_be_halved() -> None:
    with pytest.raises(ConfigError, match=r"6x8 .* multiples of 4"):
        abstract_variables(FAMILY, jnp.zeros((1, 6, 8, 2)), *codes(0))
    with pytest.raises(ConfigError, match=r"6x8 .* multiples of 4"):
        FAMILY.macs((6, 8, 2), *codes(0))


def test_a_cell_of_one_node() -> None:
    """No operation of a reduction cell reads a node, so none is told."""
    space = darts_space(1)
    operations = sources = jnp.array([[0, 1], [0, 1]])
    family = DartsFamily(2, 2, 3, space)
    params = abstract_variables(family, IMAGES, operations, sources)["params"]
    run = functools.partial(told, family)
    seen = jax.eval_shape(run, params, IMAGES, operations, sources)
    shapes = [rows.shape for rows, _ in seen.relu_inputs]
    assert shapes == [
        *((1, 3, 8, 8, 6), (1, 3, 8, 8, 6), (2, 3, 8, 8, 2), (2, 3, 8, 8, 2)),
        *((1, 3, 8, 8, 6), (1, 3, 8, 8, 2), (2, 3, 8, 8, 4), (2, 3, 4, 4, 4)),
    ]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (nasbench201_space(), r"has the cells \['cell'\]"),
        (robust_darts("s4").space, r"no operations \['noise'\] .*sep_conv_3x3"),
    ],
)
def test_spaces_without_a_family(space: SearchSpace, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        abstract_variables(DartsFamily(2, 2, 3, space), IMAGES, *codes(0))
    with pytest.raises(ConfigError, match=message):
        DartsFamily(2, 2, 3, space).macs((8, 8, 2), *codes(0))
