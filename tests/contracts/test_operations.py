"""Every operation, by every engine, against plain loops written without the library."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import OPS, Layers, Op, get_op, register_op
from nas_jax.networks.engines.coded import CodedCell
from nas_jax.networks.engines.loop import run_cell_loop
from nas_jax.networks.engines.plan import plan_supernet
from nas_jax.networks.engines.waves import run_waves
from nas_jax.networks.ops import Form
from nas_jax.spaces import NONE, CellSpec, SearchSpace, SpaceMask

C = 3
KEY = jax.random.key(5)
FAST = {"xla_backend_optimization_level": 0}
PLAIN = sorted(name for name in OPS if name != NONE)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def batch_norm(x: np.ndarray) -> np.ndarray:
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-5)


def conv(x: np.ndarray, w: np.ndarray, stride: int, dilation: int = 1) -> np.ndarray:
    """Convolution of `[B, H, W, C]` with `[k, k, C, D]`, as PyTorch pads."""
    k = w.shape[0]
    pad = dilation * (k - 1) // 2
    batch, height, width, _ = x.shape
    y = np.zeros((batch, -(-height // stride), -(-width // stride), w.shape[-1]))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            for a in range(k):
                for b in range(k):
                    row = i * stride + a * dilation - pad
                    column = j * stride + b * dilation - pad
                    if 0 <= row < height and 0 <= column < width:
                        y[:, i, j] += x[:, row, column] @ w[a, b]
    return y


def pool(x: np.ndarray, kind: str, stride: int) -> np.ndarray:
    """3x3, padding 1; the padding takes no part."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, -(-height // stride), -(-width // stride), channels))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            top, left = i * stride - 1, j * stride - 1
            window = x[:, max(top, 0) : top + 3, max(left, 0) : left + 3]
            y[:, i, j] = (np.max if kind == "max" else np.mean)(window, axis=(1, 2))
    return y


def reference(
    op: str, x: np.ndarray, params: Any, stride: int, mixed: bool
) -> np.ndarray:
    """What the published codes compute, of one layer's parameters."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    if "pool" in op:
        y = pool(x, op[:3], stride)
        return batch_norm(y) if mixed else y
    if op == "skip_connect":
        if stride == 1:
            return x
        x = relu(x)
        even, odd = x[:, ::2, ::2], x[:, 1::2, 1::2]
        halves = [even @ p["pointwise_even"], odd @ p["pointwise_odd"]]
        return batch_norm(np.concatenate(halves, -1))
    if op.startswith("nor_conv"):
        return batch_norm(conv(relu(x), p["kernel"], stride))
    dilation = 2 if op.startswith("dil") else 1
    for stage in (0, 1) if op.startswith("sep") else (1,):
        kernel = p[f"depthwise_{stage}"]
        whole = kernel[..., None] * np.eye(C)
        first = stride if stage == 0 or dilation == 2 else 1
        x = conv(relu(x), whole, first, dilation) @ p[f"pointwise_{stage}"]
        x = batch_norm(x)
    return x


def one_edge(op: str, halves: bool) -> tuple[SpaceMask, Any]:
    """A cell of two inputs and one node, and a stack of parameters for each edge."""
    spec = CellSpec("cell", 2, 1, ((0, 2), (1, 2)), (NONE, op), edges_per_node=2)
    mask = SpaceMask.full(SearchSpace("one", (spec,)))
    plan = plan_supernet(mask, "cell", halves)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape, scale=0.5), jnp.float32),
        plan.specs(C, affine=False),
    )
    return mask, params


def by_engine(engine: str, mask: SpaceMask, halves: bool) -> Any:
    """The node's sum from inputs, weights of the edges and parameters."""
    plan = plan_supernet(mask, "cell", halves)

    def waves(inputs: Any, scale: Any, params: Any) -> jax.Array:
        weights = jnp.stack([jnp.zeros(2), scale], 1)
        layers = Layers()
        return run_waves(plan, inputs, weights, params, layers, mixed=True, key=KEY)

    def loop(inputs: Any, scale: Any, params: Any) -> jax.Array:
        weights = jnp.stack([jnp.zeros(2), scale], 1)
        return run_cell_loop(plan, inputs, weights, params, "batch", key=KEY)

    return {"waves": waves, "loop": loop}[engine]


INPUTS = np.random.default_rng(0).normal(size=(2, 2, 4, 6, C)).astype(np.float32)
SCALE = jnp.array([0.75, 0.5])


@functools.cache
def results(engine: str, op: str, halves: bool) -> Any:
    """A node's sum and the gradients by inputs, weights and parameters."""
    mask, params = one_edge(op, halves)
    run = by_engine(engine, mask, halves)

    def loss(*arguments: Any) -> Any:
        y = run(*arguments)
        return jnp.sum(jnp.sin(y) * jnp.arange(y.size).reshape(y.shape) / y.size), y

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    jitted = jax.jit(gradient, compiler_options=FAST)
    found, y = jitted([*map(jnp.asarray, INPUTS)], SCALE, params)
    return np.asarray(y), found


@pytest.mark.parametrize("halves", [False, True], ids=["plain", "halving"])
@pytest.mark.parametrize("op", [o for o in PLAIN if o != "noise"])
def test_waves_against_loops(op: str, halves: bool) -> None:
    _, params = one_edge(op, halves)
    y, _ = results("waves", op, halves)
    expected = sum(
        float(SCALE[edge])
        * reference(
            op,
            INPUTS[edge].astype(np.float64),
            {n: p[edge] for n, p in params.get(op, {}).items()},
            2 if halves else 1,
            mixed=True,
        )
        for edge in range(2)
    )
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("halves", [False, True], ids=["plain", "halving"])
@pytest.mark.parametrize("op", PLAIN)
def test_the_loop_gives_what_waves_give(op: str, halves: bool) -> None:
    (a, by_a), (b, by_b) = (results(e, op, halves) for e in ("waves", "loop"))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for one, other in zip(*map(jax.tree.leaves, (by_a, by_b)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert float(jnp.abs(by_a[1]).min()) > 1e-4


@pytest.mark.parametrize("halves", [False, True], ids=["plain", "halving"])
def test_coded_against_loops(halves: bool) -> None:
    """Every operation as a branch of one program, in a discrete cell."""
    ops = tuple(o for o in PLAIN if o != "noise")
    spec = CellSpec("cell", 2, 1, ((0, 2), (1, 2)), (NONE, *ops), edges_per_node=2)
    cell = CodedCell(spec, C, halves)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape, scale=0.5), jnp.float32),
        cell.specs(),
    )

    @functools.partial(jax.jit, compiler_options=FAST)
    def run(operations: jax.Array, sources: jax.Array) -> jax.Array:
        codes = {"operations": operations, "sources": sources}
        return cell([*map(jnp.asarray, INPUTS)], codes, params, Layers())

    for first, op in enumerate(ops):
        genes = (first, (first + 1) % len(ops))
        sources = (1, 0) if first % 2 else (0, 1)
        expected = sum(
            reference(
                ops[gene],
                INPUTS[source].astype(np.float64),
                {n: p[row] for n, p in params.get(ops[gene], {}).items()},
                2 if halves else 1,
                mixed=False,
            )
            for row, (gene, source) in enumerate(zip(genes, sources, strict=True))
        )
        y = run(jnp.array(genes), jnp.array(sources))
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4, err_msg=op)


def test_noise_is_drawn_anew_and_passes_no_gradient() -> None:
    mask, params = one_edge("noise", False)
    plan = plan_supernet(mask, "cell")
    weights = jnp.array([[0.0, 1.0], [0.0, 0.0]])

    def draw(x: jax.Array, key: jax.Array) -> jax.Array:
        return run_waves(plan, [x, x], weights, params, Layers(), mixed=True, key=key)

    x = jnp.asarray(INPUTS[0])
    one, again, other = (draw(x, jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert float(jnp.abs(one - other).min()) > 0
    assert abs(float(one.mean())) < 0.3 and float(one.std()) == pytest.approx(
        1, abs=0.2
    )
    gradient = jax.grad(lambda x: jnp.sum(draw(x, KEY)))(x)
    np.testing.assert_array_equal(gradient, 0)
    # The two edges of a node draw for themselves.
    both = results("loop", "noise", True)[0]
    assert both.shape == (2, 2, 3, C)


def test_names_of_operations_are_taken_once() -> None:
    mine = Op("test_only_double", Form(lambda x, p, stride, layers: 2 * x))
    try:
        assert register_op(mine) is get_op("test_only_double")
        register_op(mine)
        with pytest.raises(ConfigError, match="'test_only_double' already"):
            register_op(Op("test_only_double", Form(lambda x, p, stride, layers: x)))
    finally:
        del OPS["test_only_double"]
    with pytest.raises(ConfigError, match="no network computes 'conv_7x7'; allowed"):
        get_op("conv_7x7")
