"""The supernet of NAS-Bench-201, against smaller ones and against single networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import (
    NasBench201Family,
    NasBench201Supernet,
    abstract_variables,
    init_variables,
    mixture_weights,
    nasbench201,
    nasbench201_supernet,
    num_parameters,
    zero_alphas,
)
from nas_jax.networks.cell import Remat
from nas_jax.networks.nasbench201_supernet import kept_edges, live_layers
from nas_jax.networks.observed import Observed
from nas_jax.spaces import NASBENCH201_OPS, SpaceMask, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of
from tests.networks.told import assert_same_arrays, repeated

FAST = {"xla_backend_optimization_level": 0}
SPACE = nasbench201_space()
FULL = SpaceMask.full(SPACE)
NONE, SKIP, CONV1, CONV3, POOL = NASBENCH201_OPS
PRUNED = FULL.drop(
    [
        *(("cell", edge, NONE) for edge in (0, 1, 3)),
        *(("cell", edge, CONV3) for edge in (0, 3, 5)),
        ("cell", 1, CONV1),
        ("cell", 2, SKIP),
        ("cell", 4, POOL),
    ]
)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(3, 8, 8, 2)), jnp.float32)
TARGET = jnp.asarray(RNG.normal(size=(3, 3)), jnp.float32)
ALPHAS = {"cell": jnp.asarray(RNG.normal(size=(6, 5)), jnp.float32)}
Params = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def two_stages() -> Iterator[None]:
    """Two stages have every kind of layer, and compile in two thirds of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (nasbench201, nasbench201_supernet):
            patch.setattr(module, "STAGES", 2)
        yield


def supernet(mask: SpaceMask, **kw: Any) -> NasBench201Supernet:
    return NasBench201Supernet(mask, channels=2, cells=2, num_classes=3, **kw)


def shapes(mask: SpaceMask) -> Any:
    return abstract_variables(supernet(mask), IMAGES, zero_alphas(SPACE))


@functools.cache
def full_params() -> Params:
    """None of the normalisations' at their start, so that each matters."""
    params = init_variables(jax.random.key(3), shapes(FULL))["params"]
    rng = np.random.default_rng(4)
    return jax.tree.map(
        lambda p: (
            p if p.ndim > 1 else jnp.asarray(rng.uniform(0.5, 1.5, p.shape), p.dtype)
        ),
        params,
    )


def subset(params: Params, mask: SpaceMask) -> Params:
    """The parameters of the full supernet that one with a mask has as well."""
    result = {}
    for name, leaves in params.items():
        op = next((op for op in (CONV1, CONV3) if name.endswith(op)), None)
        rows = np.array(kept_edges(mask, op) if op else [], int)
        if op is None:
            result[name] = leaves
        elif len(rows):
            result[name] = {key: leaf[:, rows] for key, leaf in leaves.items()}
    return result


def loss(
    network: NasBench201Supernet, live: Any, params: Params, alphas: Any
) -> jax.Array:
    weights = mixture_weights(alphas, live)
    logits = network.apply({"params": params}, IMAGES, weights)
    assert isinstance(logits, jax.Array)
    return jnp.sum(jnp.sin(logits) * TARGET)


def gradients(network: NasBench201Supernet, params: Params) -> Any:
    """Loss and gradients by parameters and alphas, the operations of PRUNED live."""
    live = PRUNED.arrays()
    function = jax.value_and_grad(functools.partial(loss, network, live), (0, 1))
    return jax.jit(function, compiler_options=FAST)(params, ALPHAS)


def test_static_mask_equals_dynamic_mask() -> None:
    small = subset(full_params(), PRUNED)
    assert jax.tree.map(jnp.shape, small) == jax.tree.map(
        jnp.shape, shapes(PRUNED)["params"]
    )
    assert num_parameters({"params": small}) < num_parameters({"params": full_params()})
    dynamic, (by_params, by_alphas) = gradients(supernet(FULL), full_params())
    static, (by_small, by_kept) = gradients(supernet(PRUNED), small)
    assert abs(float(static)) > 0.01
    assert float(static) == pytest.approx(float(dynamic), rel=1e-4)
    kept = PRUNED.arrays()["cell"]
    assert (np.asarray(by_alphas["cell"])[~kept] == 0).all()
    assert np.abs(np.asarray(by_alphas["cell"])[kept]).min() > 1e-6
    np.testing.assert_allclose(by_alphas["cell"], by_kept["cell"], rtol=2e-3, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-4),
        subset(by_params, PRUNED),
        by_small,
    )
    largest = [float(jnp.abs(g).max()) for g in jax.tree.leaves(by_small)]
    assert min(largest) > 1e-3


def test_remat_changes_nothing() -> None:
    # Few convolutions, which are quick to compile, and every kind of operation.
    kept = [(SKIP, CONV3), (CONV1, NONE), (POOL,), (SKIP,), (CONV3,), (POOL, CONV1)]
    mask = SpaceMask(SPACE, (tuple(kept),))
    params = subset(full_params(), mask)

    def results(remat: Remat) -> Any:
        network = supernet(mask, remat=remat)
        function = functools.partial(loss, network, mask.arrays())
        both = jax.jit(jax.value_and_grad(function, (0, 1)), compiler_options=FAST)
        return both(params, ALPHAS)

    first = results("none")
    assert float(jnp.abs(first[1][1]["cell"]).max()) > 1e-3
    for remat in ("op", "wave", "cell"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-4),
            first,
            results(remat),
        )


ARCHITECTURES = [
    (CONV3, SKIP, CONV1, POOL, NONE, CONV3),
    (SKIP, CONV1, CONV1, CONV3, CONV3, POOL),
]


@pytest.mark.parametrize("index", range(len(ARCHITECTURES)))
def test_one_operation_on_each_edge_is_that_network(index: int) -> None:
    architecture = ARCHITECTURES[index]
    mask = genotype_of(architecture).mask()
    assert [mask.edge("cell", e) for e in range(6)] == [(op,) for op in architecture]
    network = supernet(mask)
    family = NasBench201Family(channels=2, cells=2, num_classes=3)
    operations = jnp.array([NASBENCH201_OPS.index(op) for op in architecture])
    # The family's operations are normalised with scale 1 and shift 0 to begin with.
    abstract = abstract_variables(family, IMAGES, operations)
    params = init_variables(jax.random.key(5), abstract)["params"]
    mine = {
        name: {"kernel": leaves["kernel"]} if name.startswith("stage_") else leaves
        for name, leaves in subset(params, mask).items()
    }
    expected = family.apply({"params": params}, IMAGES, operations)
    assert isinstance(expected, Observed)
    weights = mixture_weights(zero_alphas(SPACE), mask.arrays())
    logits = network.apply({"params": mine}, IMAGES, weights)
    assert float(np.std(expected.logits)) > 0.01
    np.testing.assert_allclose(logits, expected.logits, rtol=1e-4, atol=1e-5)
    seen = network.apply({"params": mine}, IMAGES, weights, method="observe")
    assert isinstance(seen, Observed)
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        seen.feature_map, expected.feature_map, rtol=1e-3, atol=1e-4
    )
    # The same layers, though in another order and stacked in another way.
    for told in (seen, expected):
        assert told.variances is not None and told.channels is not None
    for name in ("variances", "relu_inputs"):
        rows = [repeated(getattr(told, name)) for told in (seen, expected)]
        assert_same_arrays(*rows)
    assert sum(float(g.live.sum()) for g in seen.channels or []) == sum(
        float(g.live.sum()) for g in expected.channels or []
    )
    macs = network.macs((8, 8, 2), weights)
    assert float(macs) == float(family.macs((8, 8, 2), operations))


def test_gates_multiply_convolutions() -> None:
    """A gate of 2 on a convolution is a kernel of twice the size."""
    network = supernet(PRUNED, norm="identity")
    params = subset(full_params(), PRUNED)
    weights = mixture_weights(ALPHAS, PRUNED.arrays())
    run = functools.partial(network.apply, method="observe")
    seen: Any = run({"params": params}, IMAGES, weights)
    gates = [gate.values for gate in seen.channels]
    stem, one, three = (g.shape for g in gates[:3])
    # Two cells of 5 kept 1x1 and 3 kept 3x3 convolutions, 3 images, 2 channels.
    assert (stem, one, three) == ((1, 3, 2), (10, 3, 2), (6, 3, 2))
    assert [g.fan_in for g in seen.channels[:3]] == [18, 2, 18]
    # The second cell's convolution on the edge from node 0 to node 2.
    place = 1 * 3 + kept_edges(PRUNED, CONV3).index(1)
    gates[2] = gates[2].at[place].set(2.0)
    kernel = params[f"stage_0_{CONV3}"]["kernel"]
    larger = {"kernel": kernel.at[1, place - 3].multiply(2.0)}
    gated: Any = run({"params": params}, IMAGES, weights, gates)
    changed: Any = run(
        {"params": {**params, f"stage_0_{CONV3}": larger}}, IMAGES, weights
    )
    np.testing.assert_allclose(gated.logits, changed.logits, rtol=1e-4, atol=1e-4)
    assert float(jnp.abs(gated.logits - seen.logits).max()) > 1e-3


def without(*ops: str) -> SpaceMask:
    return FULL.drop([o for o in SPACE.operations() if o[2] in ops])


@pytest.mark.parametrize(
    ("mask", "ones", "threes"),
    [
        # Edges that leave one node share a convolution: 3 of node 0, 2 of 1, 1 of 2.
        (FULL, {3, 2, 1}, {3, 2, 1}),
        (FULL.drop([("cell", 5, CONV3)]), {3, 2, 1}, {3, 2}),
        (FULL.drop([("cell", 0, CONV3), ("cell", 2, CONV1)]), {3, 1}, {2, 1}),
        (without(CONV3), {3, 2, 1}, set()),
        (without(CONV1, POOL), set(), {3, 2, 1}),
    ],
)
def test_pruned_convolutions_are_not_traced(
    mask: SpaceMask,
    ones: set[int],
    threes: set[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params, traced, conv_norm = shapes(mask), set(), nasbench201_supernet.conv_norm

    def noted(x: Any, params: Any, *args: Any) -> Any:
        traced.add(params["kernel"].shape)
        return conv_norm(x, params, *args)

    monkeypatch.setattr(nasbench201_supernet, "conv_norm", noted)
    network = supernet(mask, remat="none")
    jax.eval_shape(network.apply, params, IMAGES, zero_alphas(SPACE))
    assert traced == {
        (size, size, channels, edges * channels)
        for channels in (2, 4)
        for size, all_edges in ((1, ones), (3, threes))
        for edges in all_edges
    }


def test_a_pruned_operation_has_no_parameter() -> None:
    assert not [name for name in shapes(without(CONV3))["params"] if CONV3 in name]
    kernels = shapes(PRUNED)["params"]
    assert kernels[f"stage_0_{CONV3}"]["kernel"].shape == (2, 3, 3, 3, 2, 2)
    assert kernels[f"stage_1_{CONV1}"]["kernel"].shape == (2, 5, 1, 1, 4, 4)
    assert set(kernels[f"stage_1_{CONV1}"]) == {"kernel"}


def test_entries_of_pruned_operations_are_not_read() -> None:
    weights = mixture_weights(ALPHAS, PRUNED.arrays())
    broken = {"cell": jnp.where(PRUNED.arrays()["cell"], weights["cell"], 7.0)}
    apply = jax.jit(supernet(PRUNED).apply, compiler_options=FAST)
    variables = {"params": subset(full_params(), PRUNED)}
    np.testing.assert_array_equal(
        apply(variables, IMAGES, weights), apply(variables, IMAGES, broken)
    )


def test_none_takes_weight_and_adds_nothing() -> None:
    """Half of the weight on `none` halves what the other operation gives."""
    mask = FULL.drop([o for o in SPACE.operations() if o[2] not in (NONE, SKIP)])
    network = supernet(mask, norm="identity")
    variables = {
        "params": jax.tree.map(
            jnp.zeros_like,
            abstract_values(network),
        )
    }
    params = dict(variables["params"])
    kernel = params["stem"]["kernel"].at[1, 1].set(jnp.eye(2))
    params["stem"] = {**params["stem"], "kernel": kernel, "scale": jnp.ones(2)}
    told = []
    for share in (0.0, 0.5):
        row = jnp.array([share, 1 - share, 0, 0, 0])
        weights = {"cell": jnp.tile(row, (6, 1))}
        seen: Any = network.apply({"params": params}, IMAGES, weights, method="observe")
        (sources, counts) = seen.relu_inputs[0]
        told.append((np.asarray(sources), np.asarray(counts)))
    for (sources, counts), w in zip(told, (1.0, 0.5), strict=True):
        assert sources.shape == (6, 3, 8, 8, 2)
        assert counts.tolist() == [0] * 6  # No convolution rectifies them.
        x = np.asarray(IMAGES)
        # Node 1 is w x, node 2 w x + w (w x), of the first cell.
        for node, factor in enumerate((1, w, w + w * w)):
            np.testing.assert_allclose(sources[node], factor * x, rtol=1e-5)
        # Its last node, w (x + node 1 + node 2), is the second cell's input.
        last = w * (1 + w + w + w * w)
        np.testing.assert_allclose(sources[3], last * x, rtol=1e-5)


def abstract_values(network: NasBench201Supernet) -> Params:
    abstract = abstract_variables(network, IMAGES, zero_alphas(SPACE))
    return dict(init_variables(jax.random.key(0), abstract)["params"])


def test_a_node_that_nothing_reaches_is_zero() -> None:
    edges = {0: [NONE], 1: [CONV3], 2: [CONV1], 3: [NONE], 4: [CONV3], 5: [POOL]}
    mask = SpaceMask(SPACE, (tuple(tuple(edges[e]) for e in range(6)),))
    weights = mixture_weights(zero_alphas(SPACE), mask.arrays())
    seen: Any = supernet(mask).apply(
        {"params": subset(full_params(), mask)}, IMAGES, weights, method="observe"
    )
    sources, counts = seen.relu_inputs[0]
    assert counts.tolist() == [1, 2, 0] * 2
    assert (np.asarray(sources[1]) == 0).all()
    assert float(jnp.abs(sources[2]).max()) > 0
    assert np.isfinite(seen.logits).all()


def test_live_layers() -> None:
    weights = mixture_weights(zero_alphas(SPACE), PRUNED.arrays())
    live = live_layers(supernet(FULL), full_params(), weights)
    assert jax.tree.structure(live) == jax.tree.structure(full_params())
    expected = {CONV1: [1, 0, 1, 1, 1, 1], CONV3: [0, 1, 1, 0, 1, 0]}
    for name, entries in live.items():
        op = next((op for op in expected if name.endswith(op)), None)
        for entry in jax.tree.leaves(entries):
            assert entry.tolist() == (1.0 if op is None else [expected[op]] * 2)


def test_bfloat16_is_near_float32() -> None:
    weights = mixture_weights(ALPHAS, PRUNED.arrays())
    variables = {"params": subset(full_params(), PRUNED)}
    exact, rough = (
        jax.jit(supernet(PRUNED, dtype=dtype).apply, compiler_options=FAST)(
            variables, IMAGES, weights
        )
        for dtype in ("float32", "bfloat16")
    )
    assert rough.dtype == jnp.float32
    difference = float(jnp.abs(exact - rough).max())
    assert 0 < difference < 0.1 * float(jnp.abs(exact).max())


def test_images_that_cannot_be_halved_twice() -> None:
    with pytest.raises(ConfigError, match="8x7 .* multiples of"):
        abstract_variables(supernet(FULL), jnp.zeros((1, 8, 7, 2)), zero_alphas(SPACE))
