"""Every operation against plain loops, written without the library."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nas_jax.networks.layers import Projection, halve, mix, scale_and_shift
from nas_jax.networks.loop import Schedule, run_loop
from nas_jax.networks.operations import parameter_shapes
from nas_jax.networks.plan import PlannedOp
from nas_jax.networks.pools import avg_pool, max_pool
from nas_jax.networks.wave import Wave

C = 3
Params = dict[str, np.ndarray]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def batch_norm(x: np.ndarray) -> np.ndarray:
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(variance + 1e-5)


def conv(
    x: np.ndarray, depthwise: np.ndarray, pointwise: np.ndarray, stride: int, dil: int
) -> np.ndarray:
    """Depthwise and 1x1 convolution of `[B, H, W, C]`, as PyTorch pads."""
    k = depthwise.shape[0]
    pad = dil * (k - 1) // 2
    batch, height, width, channels = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    y = np.zeros((batch, rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            for a in range(k):
                for b in range(k):
                    row, column = i * stride + a * dil - pad, j * stride + b * dil - pad
                    if 0 <= row < height and 0 <= column < width:
                        y[:, i, j] += x[:, row, column] * depthwise[a, b]
    return y @ pointwise


def pool(x: np.ndarray, kind: str, stride: int) -> np.ndarray:
    """3x3, padding 1; the padding takes no part."""
    batch, height, width, channels = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    y = np.zeros((batch, rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride - 1, j * stride - 1
            window = x[:, max(top, 0) : top + 3, max(left, 0) : left + 3]
            reduce = np.max if kind == "max" else np.mean
            y[:, i, j] = reduce(window, axis=(1, 2))
    return y


def factorised_reduction(
    x: np.ndarray, even: np.ndarray, odd: np.ndarray
) -> np.ndarray:
    batch, height, width, _ = x.shape
    y = np.zeros((batch, height // 2, width // 2, even.shape[1] + odd.shape[1]))
    for i in range(height // 2):
        for j in range(width // 2):
            y[:, i, j, : even.shape[1]] = x[:, 2 * i, 2 * j] @ even
            y[:, i, j, even.shape[1] :] = x[:, 2 * i + 1, 2 * j + 1] @ odd
    return batch_norm(y)


def operation(op: str, x: np.ndarray, params: Params, stride: int) -> np.ndarray:
    """One operation of DARTS (cnn/operations.py, MixedOp's normalised pools)."""
    if op.startswith("sep"):
        for stage, step in ((0, stride), (1, 1)):
            weights = [
                params[f"{op}_{n}_{stage}"][0] for n in ("depthwise", "pointwise")
            ]
            x = batch_norm(conv(relu(x), *weights, step, 1))
        return x
    if op.startswith("dil"):
        weights = [params[f"{op}_{n}_1"][0] for n in ("depthwise", "pointwise")]
        return batch_norm(conv(relu(x), *weights, stride, 2))
    if "pool" in op:
        return batch_norm(pool(x, op[:3], stride))
    if stride == 1:
        return x
    even, odd = (params[f"skip_connect_pointwise_{n}"][0] for n in ("even", "odd"))
    return factorised_reduction(relu(x), even, odd)


Sums = dict[int, jax.Array]


def random_params(ops: tuple[PlannedOp, ...], stride: int) -> Params:
    """A layer for each operation of a kind, stacked."""
    rng = np.random.default_rng(1)
    return {
        f"{kind}_{name}": rng.normal(
            size=(sum(o.op == kind for o in ops), *shape), scale=0.5
        ).astype(np.float32)
        for kind in dict.fromkeys(o.op for o in ops)
        for name, shape in parameter_shapes(kind, stride, C).items()
    }


def by_wave(ops, stride, states, weights, params) -> Sums:  # type: ignore[no-untyped-def]
    """All at once."""
    wave = Wave(ops, stride)
    return jax.jit(wave.apply)({}, dict(enumerate(states)), weights, params)


def by_loop(ops, stride, states, weights, params) -> Sums:  # type: ignore[no-untyped-def]
    """One after another."""
    schedule = Schedule(ops, stride, 0, 2, "batch", "float32")
    batch, height, width, _ = states[0].shape
    targets = sorted({o.target for o in ops})
    shape = (max(targets) - 1, batch, -(-height // stride), -(-width // stride), C)
    scale = jnp.stack([weights[o.edge, o.column] for o in ops])
    run = jax.jit(functools.partial(run_loop, schedule))
    nodes = run(jnp.stack(states), jnp.zeros(shape), scale, params)
    return {target: nodes[target - 2] for target in targets}


@pytest.fixture(params=[by_wave, by_loop], ids=["wave", "loop"])
def run_ops(request):  # type: ignore[no-untyped-def]
    """Either way to run a cell's operations."""
    return request.param


OPS = [
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("op", OPS)
def test_operation_against_loops(op: str, stride: int, run_ops) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    states = [jnp.asarray(rng.normal(size=(2, 4, 6, C)), jnp.float32) for _ in "ab"]
    # Edge (1, 2), the seventh of eight columns; its weight scales the result.
    ops = (PlannedOp(op, 1, 2, 1, 6),)
    weights = jnp.zeros((2, 8)).at[1, 6].set(0.75)
    params = random_params(ops, stride)
    sums = run_ops(ops, stride, states, weights, params)
    assert list(sums) == [2]
    expected = 0.75 * operation(op, np.asarray(states[1], np.float64), params, stride)
    assert sums[2].shape == expected.shape
    np.testing.assert_allclose(sums[2], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_many_operations_against_loops(stride: int, run_ops) -> None:  # type: ignore[no-untyped-def]
    """Several sources, targets and stacked convolutions at once, as in a cell."""
    rng = np.random.default_rng(2)
    states = [jnp.asarray(rng.normal(size=(2, 4, 4, C)), jnp.float32) for _ in "ab"]
    edges = [(0, 2), (1, 2), (0, 3), (1, 3)]
    chosen = [
        ("max_pool_3x3", "skip_connect", "sep_conv_3x3"),
        ("avg_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"),
        ("skip_connect", "sep_conv_5x5"),
        ("max_pool_3x3", "sep_conv_3x3", "dil_conv_3x3"),
    ]
    columns = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", *OPS[:4]]
    ops = tuple(
        PlannedOp(op, *edges[e], e, columns.index(op))
        for e, names in enumerate(chosen)
        for op in names
    )
    weights = jnp.asarray(rng.uniform(0.1, 1, size=(4, 7)), jnp.float32)
    params = random_params(ops, stride)
    sums = run_ops(ops, stride, states, weights, params)

    expected: dict[int, np.ndarray] = {2: np.zeros(1), 3: np.zeros(1)}
    used: dict[str, int] = {}
    for op in ops:
        # A parameter stacks one layer for each operation, in their order.
        layer = used.setdefault(op.op, 0)
        used[op.op] += 1
        own = {n: p[layer : layer + 1] for n, p in params.items() if op.op in n}
        value = operation(op.op, np.asarray(states[op.source], float), own, stride)
        scaled = float(weights[op.edge, op.column]) * value
        expected[op.target] = expected[op.target] + scaled
    assert params["sep_conv_3x3_depthwise_0"].shape[0] == 3
    for target, value in expected.items():
        np.testing.assert_allclose(sums[target], value, rtol=1e-3, atol=1e-4)


def test_pools_of_discrete_networks_are_not_normalised() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 4, C)).astype(np.float32)
    ops = (PlannedOp("avg_pool_3x3", 0, 2, 0, 0),)
    wave = Wave(ops, 2, affine=True, tracked=True, pool_norm=False)
    sums = wave.apply({}, [jnp.asarray(x)], None, {})
    np.testing.assert_allclose(sums[2], pool(x, "avg", 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 2)])
def test_pools_against_loops(size: tuple[int, int], stride: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, *size, C)).astype(np.float32)
    for kind, ours in (("max", max_pool), ("avg", avg_pool)):
        y = ours(jnp.asarray(x)[None], stride)[0]
        np.testing.assert_allclose(y, pool(x, kind, stride), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_of_max_pool(stride: int) -> None:
    # A permutation has no ties, where the two would share the gradient differently.
    numbers = np.random.default_rng(0).permutation(2 * 2 * 5 * 4 * 3)
    x = jnp.asarray(numbers.reshape(2, 2, 5, 4, 3), jnp.float32) - 120

    def reference(x: jax.Array) -> jax.Array:
        window, strides = (1, 1, 3, 3, 1), (1, 1, stride, stride, 1)
        padding = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -np.inf, lax.max, window, strides, padding)

    results = []
    for function in (functools.partial(max_pool, stride=stride), reference):
        y, pull = jax.vjp(function, x)
        cotangent = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        results.append((y, pull(cotangent)[0]))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_of_avg_pool(stride: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    y, pull = jax.vjp(lambda x: avg_pool(x[None], stride)[0], jnp.asarray(x))
    cotangent = rng.normal(size=y.shape).astype(np.float32)
    # Linear: <y_bar, pool(x')> = <x_bar, x'> for any x'.
    for _ in range(3):
        other = rng.normal(size=x.shape).astype(np.float32)
        expected = float((cotangent * pool(other, "avg", stride)).sum())
        found = float((np.asarray(pull(jnp.asarray(cotangent))[0]) * other).sum())
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_equal_maxima_share_the_gradient() -> None:
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x, 2)))(jnp.ones((1, 1, 4, 4, 1)))
    # Four windows: none of their gradient is lost or doubled.
    assert float(jnp.sum(gradient)) == pytest.approx(4)


@pytest.mark.parametrize("channels", [4, 5])
def test_factorised_reduction_against_loops(channels: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 6, 2)).astype(np.float32)
    module = Projection(channels, reduce=True)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert {n: s.shape for n, s in shapes.items()} == {
        "pointwise_even": (1, 2, channels // 2),
        "pointwise_odd": (1, 2, channels - channels // 2),
    }
    params = {n: rng.normal(size=s.shape).astype(np.float32) for n, s in shapes.items()}
    y = module.apply({"params": params}, jnp.asarray(x))
    even, odd = params["pointwise_even"][0], params["pointwise_odd"][0]
    expected = factorised_reduction(relu(x), even, odd)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_projection_against_loops() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 3, 2)).astype(np.float32)
    w = rng.normal(size=(1, 2, 4)).astype(np.float32)
    y = Projection(4, reduce=False).apply({"params": {"pointwise": w}}, jnp.asarray(x))
    np.testing.assert_allclose(y, batch_norm(relu(x) @ w[0]), rtol=1e-3, atol=1e-4)


def test_halve_reads_both_diagonals() -> None:
    x = jnp.arange(16.0).reshape(1, 1, 4, 4, 1)
    ones = jnp.ones((1, 1, 1))
    y = halve(x, ones, ones)[0, 0]
    np.testing.assert_array_equal(y[..., 0], [[0, 2], [8, 10]])
    np.testing.assert_array_equal(y[..., 1], [[5, 7], [13, 15]])


def test_derivatives_written_by_hand() -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(3, 2, 2, 2, 2)), jnp.float32)
    matrix = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    scale, shift = (jnp.asarray(rng.normal(size=(3, 2)), jnp.float32) for _ in "ab")

    def spread(factor: jax.Array) -> jax.Array:
        return factor[:, None, None, None, :]

    pairs = [
        (mix, lambda m, x: jnp.einsum("tk,kbhwc->tbhwc", m, x), (matrix, x)),
        (
            scale_and_shift,
            lambda x, a, b: x * spread(a) + spread(b),
            (x, scale, shift),
        ),
    ]
    for ours, reference, arguments in pairs:
        positions = tuple(range(len(arguments)))
        for f in (ours, reference):
            assert f(*arguments).dtype == jnp.float32
        actual, expected = (
            jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), positions)(*arguments)
            for f in (ours, reference)
        )
        for a, b in zip(actual, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
