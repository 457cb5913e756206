"""Every architecture in one program, against a network written edge by edge."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.networks import abstract_variables
from nas_jax.networks.nasbench201 import NasBench201Family, live_operations
from nas_jax.networks.observed import Observed
from nas_jax.spaces.nasbench201 import (
    NASBENCH201_OPS,
)
from tests.networks.told import assert_same_arrays

FAST = {"xla_backend_optimization_level": 0}
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
NONE, SKIP, CONV1, CONV3, POOL = NASBENCH201_OPS
ARCHITECTURES = [
    (CONV3, SKIP, CONV1, POOL, NONE, CONV3),
    (CONV1, CONV3, POOL, NONE, SKIP, SKIP),
    (SKIP, CONV1, CONV1, CONV3, CONV3, POOL),
    (POOL, NONE, NONE, SKIP, CONV1, NONE),
    (NONE, NONE, NONE, CONV3, NONE, NONE),
]
FAMILY = NasBench201Family(channels=2, cells=2, num_classes=3)
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(3, 8, 8, 2)), jnp.float32)
TARGET = jnp.asarray(RNG.normal(size=(3, 3)), jnp.float32)
OPERATIONS = jnp.asarray(
    [[NASBENCH201_OPS.index(op) for op in a] for a in ARCHITECTURES], jnp.int32
)
Params = Any


class Plain:
    """One architecture, and what happens in it; `deltas` are added by layer."""

    def __init__(self, params: Params, deltas: dict[Any, Any] | None = None) -> None:
        self.params = params
        self.deltas = deltas or {}
        self.outputs: dict[Any, Any] = {}
        self.relus: list[Any] = []
        self.variances: list[Any] = []
        self.features: Any = None

    def __call__(self, architecture: tuple[str, ...]) -> Any:
        x = self.conv_norm(IMAGES, "stem", self.params["stem"])
        for stage in range(3):
            if stage:
                name = f"reduce_{stage}"
                y = self.relu(x)
                y = self.conv_norm(y, f"{name}_a", self.params[f"{name}_a"], 2)
                y = self.relu(y)
                y = self.conv_norm(y, f"{name}_b", self.params[f"{name}_b"])
                corners = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
                kernel = self.params[f"{name}_shortcut"]["kernel"]
                x = self.out(f"{name}_shortcut", sum(corners) / 4 @ kernel) + y
            for cell in range(FAMILY.cells):
                x = self.cell(x, architecture, f"stage_{stage}", cell)
        x = self.relu(self.norm(x, self.params["last_norm"]))
        self.features = x
        last = self.params["classifier"]
        return self.out("classifier", x.mean((1, 2)) @ last["kernel"] + last["bias"])

    def cell(
        self, x: Any, architecture: tuple[str, ...], stage: str, index: int
    ) -> Any:
        nodes = [x, 0, 0, 0]
        for edge, ((source, target), op) in enumerate(
            zip(EDGES, architecture, strict=True)
        ):
            value = nodes[source]
            if op == NONE:
                value = 0 * x
            elif op == POOL:
                value = pool(value)
            elif op != SKIP:
                stacked = self.params[f"{stage}_{op}"]
                own = {k: v[index, edge] for k, v in stacked.items()}
                name = f"{stage}/{index}/{edge}"
                value = self.conv_norm(self.relu(value), name, own)
            nodes[target] = nodes[target] + value
        return nodes[3]

    def conv_norm(self, x: Any, name: Any, params: Params, stride: int = 1) -> Any:
        kernel = params["kernel"]
        pad = (kernel.shape[0] // 2,) * 2
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (stride, stride), (pad, pad), dimension_numbers=numbers
        )
        return self.norm(self.out(name, y), params)

    def norm(self, x: Any, params: Params) -> Any:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        self.variances.append(variance)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * params["scale"] + params[
            "shift"
        ]

    def relu(self, x: Any) -> Any:
        self.relus.append(x)
        return jnp.maximum(x, 0)

    def out(self, name: Any, y: Any) -> Any:
        y = y + self.deltas.get(name, 0)
        self.outputs[name] = y
        return y


def pool(x: Any) -> Any:
    """Mean over 3x3 without the padding."""

    def windows(x: Any) -> Any:
        ones = (1, 1, 1, 1)
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), ones, "SAME")

    return windows(x) / windows(jnp.ones_like(x))


def loss_of(logits: Any) -> Any:
    return jnp.sum(jnp.sin(logits) * TARGET)


@pytest.fixture(scope="module")
def params() -> Params:
    """None of them at its usual start, so that each matters."""
    shapes = abstract_variables(FAMILY, IMAGES, OPERATIONS[0])["params"]
    rng = np.random.default_rng(2)

    def value(leaf: Any) -> Any:
        # Scale, shift and bias, by themselves or stacked, have 1 or 3 axes.
        if leaf.ndim in (1, 3):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(value, shapes)


@pytest.fixture(scope="module")
def traces() -> list[str]:
    """Grows when a program is traced."""
    return []


@pytest.fixture(scope="module")
def observe(params: Params, traces: list[str]) -> Any:
    """All that the family tells, in one program."""

    def run(params: Params, operations: Any) -> Observed:
        traces.append("observe")
        seen = FAMILY.apply({"params": params}, IMAGES, operations)
        assert isinstance(seen, Observed)
        return seen

    return functools.partial(jax.jit(run, compiler_options=FAST), params)


@pytest.fixture(scope="module")
def gradients(params: Params, traces: list[str]) -> Any:
    """Loss and its gradients by parameters and gates, in one program."""

    def loss(params: Params, gates: Any, operations: Any) -> Any:
        traces.append("gradients")
        seen = FAMILY.apply({"params": params}, IMAGES, operations, gates)
        assert isinstance(seen, Observed)
        return loss_of(seen.logits)

    grad = jax.value_and_grad(loss, (0, 1))
    return functools.partial(jax.jit(grad, compiler_options=FAST), params)


def ones_like_gates(seen: Observed) -> list[Any]:
    assert seen.channels is not None
    return [gate.values for gate in seen.channels]


@pytest.mark.parametrize("index", range(len(ARCHITECTURES)))
def test_against_a_network_written_edge_by_edge(
    params: Params, observe: Any, index: int
) -> None:
    seen = observe(OPERATIONS[index])
    plain = Plain(params)
    logits = plain(ARCHITECTURES[index])
    assert float(np.std(logits)) > 0.01
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.feature_map, plain.features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        seen.features, plain.features.mean((1, 2)), rtol=1e-3, atol=1e-4
    )
    relus = [
        x
        for inputs, counts in seen.relu_inputs
        for x, count in zip(inputs, counts, strict=True)
        for _ in range(int(count))
    ]
    assert_same_arrays(relus, plain.relus)
    variances = [
        v
        for rows, live in seen.variances
        for v, alive in zip(rows, live, strict=True)
        if alive
    ]
    assert_same_arrays(variances, plain.variances)


def test_one_program_for_all_architectures(observe: Any, traces: list[str]) -> None:
    every = np.random.default_rng(1).integers(0, 5, (20, 6)).astype(np.int32)
    logits = np.stack([observe(jnp.asarray(row)).logits for row in every])
    assert traces.count("observe") == 1
    assert len({row.tobytes() for row in logits}) > 15


def test_vmap_equals_one_after_another(params: Params, observe: Any) -> None:
    @functools.partial(jax.jit, compiler_options=FAST)
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def together(params: Params, operations: Any) -> Any:
        seen = FAMILY.apply({"params": params}, IMAGES, operations)
        assert isinstance(seen, Observed)
        return seen.logits

    expected = np.stack([observe(row).logits for row in OPERATIONS])
    np.testing.assert_allclose(
        together(params, OPERATIONS), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("index", [0, 3])
def test_gradients_of_parameters_and_gates(
    params: Params, observe: Any, gradients: Any, index: int
) -> None:
    seen = observe(OPERATIONS[index])
    value, (by_params, by_gates) = gradients(ones_like_gates(seen), OPERATIONS[index])
    # Gates of ones change nothing.
    assert float(value) == pytest.approx(float(loss_of(seen.logits)), rel=1e-5)

    outputs = Plain(params)
    outputs(ARCHITECTURES[index])
    zeros = {name: jnp.zeros_like(y) for name, y in outputs.outputs.items()}

    @functools.partial(jax.jit, compiler_options=FAST)
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(params: Params, deltas: Any) -> Any:
        return loss_of(Plain(params, deltas)(ARCHITECTURES[index]))

    expected, by_outputs = gradient(params, zeros)
    for path, a in jax.tree_util.tree_leaves_with_path(by_params):
        b = functools.reduce(lambda tree, key: tree[key.key], path, expected)
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4, err_msg=str(path))
    names = layer_names()
    assert [len(rows) for rows in names] == [len(gate) for gate in by_gates]
    for rows, gate in zip(names, by_gates, strict=True):
        for name, row in zip(rows, gate, strict=True):
            if name not in zeros:
                np.testing.assert_array_equal(row, 0)
                continue
            # sum over the image of a * dL/da
            product = outputs.outputs[name] * by_outputs[name]
            sums = product.reshape(3, -1, product.shape[-1]).sum(1)
            np.testing.assert_allclose(row, sums, rtol=2e-3, atol=2e-4)


def layer_names() -> list[list[str]]:
    """The layers of each entry of `channels`, as `Plain` names them."""
    names = [["stem"]]
    for stage in range(3):
        if stage:
            names += [[f"reduce_{stage}_{part}"] for part in ("a", "b", "shortcut")]
        cells, edges = range(FAMILY.cells), range(6)
        names.append([f"stage_{stage}/{c}/{e}" for c in cells for e in edges])
    return [*names, ["classifier"]]


def test_gates_multiply_the_channels(observe: Any, gradients: Any) -> None:
    """The classifier's, each image's own; its biases are multiplied too."""
    seen = observe(OPERATIONS[0])
    gates = ones_like_gates(seen)
    gates[-1] = gates[-1] * jnp.array([1.0, 2.0, -1.0])[:, None]
    value, _ = gradients(gates, OPERATIONS[0])
    expected = loss_of(seen.logits * jnp.array([[1.0], [2.0], [-1.0]]))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_what_is_told_of_the_layers(observe: Any) -> None:
    seen = observe(OPERATIONS[0])
    for rows, gate in zip(layer_names(), seen.channels, strict=True):
        assert gate.values.shape[:2] == (len(rows), 3)
        assert (np.asarray(gate.values) == 1).all()
        if len(rows) == 1:
            assert gate.live.tolist() == [1]
            continue
        wide = {"stage_0": 2, "stage_1": 4, "stage_2": 8}[rows[0][:7]]
        # The architecture: 3x3, skip, 1x1, pool, none, 3x3.
        assert gate.values.shape[2] == wide
        assert gate.live.tolist() == [1, 0, 1, 0, 0, 1] * 2
        areas = np.array([9, 0, 1, 0, 0, 9] * 2)
        np.testing.assert_array_equal(gate.fan_in, wide * areas)
    single = [int(gate.fan_in) for gate in seen.channels if len(gate.live) == 1]
    assert single == [9 * 2, 9 * 2, 9 * 4, 2, 9 * 4, 9 * 8, 4, 8]


def test_unread_outputs_are_not_computed(params: Params) -> None:
    def run(params: Params, operations: Any) -> Observed:
        seen = FAMILY.apply({"params": params}, IMAGES, operations)
        assert isinstance(seen, Observed)
        return seen

    def compiled(function: Any) -> Any:
        jitted = jax.jit(function, compiler_options=FAST)
        return jitted.lower(params, OPERATIONS[0]).compile()

    everything, logits = compiled(run), compiled(lambda p, o: run(p, o).logits)
    # A stage of 2 cells stacks the 3 nodes that edges read.
    assert "f32[2,3,3,8,8,2]" in everything.as_text()
    assert "f32[2,3,3,8,8,2]" not in logits.as_text()
    for cost in ("flops", "bytes accessed"):
        assert logits.cost_analysis()[cost] < everything.cost_analysis()[cost]


@pytest.mark.parametrize("size", [(8, 6), (7, 8)])
def test_images_that_cannot_be_halved_twice(size: tuple[int, int]) -> None:
    message = rf"{size[0]}x{size[1]} .* multiples of 4.*to 8x8"
    with pytest.raises(ConfigError, match=message):
        abstract_variables(FAMILY, jnp.zeros((1, *size, 2)), OPERATIONS[0])
    with pytest.raises(ConfigError, match=message):
        FAMILY.macs((*size, 2), OPERATIONS[0])


def test_live_layers(params: Params) -> None:
    live = jax.jit(live_operations)(params, OPERATIONS[0])
    assert jax.tree.structure(live) == jax.tree.structure(params)
    expected = {CONV1: [0, 0, 1, 0, 0, 0], CONV3: [1, 0, 0, 0, 0, 1]}
    for name, entries in live.items():
        op = next((op for op in expected if name.endswith(op)), None)
        for entry in jax.tree.leaves(entries):
            assert entry.dtype == jnp.float32
            assert entry.tolist() == (1.0 if op is None else [expected[op]] * 2)
