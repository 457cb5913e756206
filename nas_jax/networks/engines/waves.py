"""A cell wave by wave: at once every operation whose source states exist already.

All operations of a wave that do the same are stacked; what has no parameters is
computed once for each source, whatever the number of its edges.

Shapes: S source states, K stacked operations, T target nodes, B batch, H and W image,
C channels.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.engines.plan import CellPlan, PlannedOp, alive, draw_keys
from nas_jax.networks.kernels.mix import mix
from nas_jax.networks.layers import Layers, Params
from nas_jax.networks.parameters import merge, statistics

States = dict[int, jax.Array]
Again = Literal["nothing", "kind", "wave"]
"""What the backward pass computes again: nothing, each kind of operation of a wave, or
each wave."""


def run_waves(
    plan: CellPlan,
    inputs: Sequence[jax.Array],
    weights: jax.Array | None,
    params: Params,
    layers: Layers,
    *,
    mixed: bool,
    again: Again = "nothing",
    key: jax.Array | None = None,
) -> jax.Array:
    """The output of a cell, `[B, H', W', S C]` of S concatenated states.

    The mixed operation of Liu et al. 2019 (arXiv 1806.09055), equation 2, and the sum
    of a node's edges, equation 1.

    Args:
        plan: The operations.
        inputs: Input states, `[B, H, W, C]` each.
        weights: Architecture weights `[edges, operations]`, or None for ones.
        params: By operation and name, stacked in the order of the plan. Running
            statistics among them are replaced in the dicts.
        layers: How layers are computed.
        mixed: Whether operations are parts of mixed operations, see `Form.norm`.
        again: What the backward pass computes again; only where nobody is told.
        key: For operations that draw.
    """
    states = dict(enumerate(inputs))
    sums: States = {}
    found: dict[str, list[Any]] = {}
    shape = _node_shape(plan, inputs[0])
    for index, ops in enumerate(plan.waves):
        for node in plan.nodes:  # Which nothing leads to.
            if node not in states and not _leading(plan, node, index):
                states[node] = sums.get(node, jnp.zeros(shape, inputs[0].dtype))
        run: Callable[..., Any] = functools.partial(_wave, plan, ops, mixed, again)
        if again == "wave":
            run = jax.checkpoint(run, static_argnums=(1,))
        own = {o.source: states[o.source] for o in ops}
        parts = run(own, layers, weights, params, key)
        for target, value in parts[0].items():
            sums[target] = sums[target] + value if target in sums else value
        for op, part in parts[1].items():
            if part:
                found.setdefault(op, []).append(part)
    _keep_statistics(params, found)
    zero = functools.partial(jnp.zeros, shape, inputs[0].dtype)
    states |= {node: sums[node] if node in sums else zero() for node in plan.nodes}
    return jnp.concatenate([states[s] for s in plan.concat], axis=-1)


def _wave(
    plan: CellPlan,
    ops: tuple[PlannedOp, ...],
    mixed: bool,
    again: Again,
    states: Mapping[int, jax.Array],
    layers: Layers,
    weights: jax.Array | None,
    params: Params,
    key: jax.Array | None,
) -> tuple[States, dict[str, Params]]:
    """Sums by target node, and new running statistics by operation."""
    if layers.record is not None:
        _tell_sources(ops, states, layers, weights)
    kinds = _kinds(ops)
    sums: States = {}
    moved: dict[str, Params] = {}
    for group in [[kind] for kind in kinds] if again == "kind" else [kinds]:
        run: Callable[..., Any] = functools.partial(_together, group, mixed)
        if again == "kind":
            run = jax.checkpoint(run, static_argnums=(1,))
        read = {o.source: states[o.source] for kind in group for o in kind}
        own = [plan.select(params, kind) for kind in group]
        parts, found = run(read, layers, weights, own, key)
        moved |= found
        for target, value in parts.items():
            sums[target] = sums[target] + value if target in sums else value
    return sums, moved


class _Results(NamedTuple):
    """Results `[K, B, H, W, C]` of the operations of one kind.

    Attributes:
        ops: The operations.
        y: What they compute before it is normalised.
        rows: The row of each operation's result.
        live: How many live operations each row stands for.
        norm: Parameters of the normalisation that follows.
        params: All parameters.
    """

    ops: tuple[PlannedOp, ...]
    y: jax.Array
    rows: list[int]
    live: jax.Array
    norm: Params
    params: Params


def _together(
    kinds: Sequence[tuple[PlannedOp, ...]],
    mixed: bool,
    states: Mapping[int, jax.Array],
    layers: Layers,
    weights: jax.Array | None,
    params: Sequence[Params],
    key: jax.Array | None,
) -> tuple[States, dict[str, Params]]:
    """`_wave` for some of its kinds, which are normalised and mixed together."""
    sources = sorted(states)
    raw = jnp.stack([states[s] for s in sources])
    rectified = nn.relu(raw)  # Once: each kind would store a mask of its own.
    results = [
        _compute(
            ops,
            sources,
            rectified if ops[0].form.relu else raw,
            layers,
            weights,
            own,
            key,
        )
        for ops, own in zip(kinds, params, strict=True)
    ]
    last = [r for r in results if r.ops[0].form.is_normalised(mixed)]
    rest = [r for r in results if not r.ops[0].form.is_normalised(mixed)]
    values = [r.y for r in rest]
    if last:
        values.insert(0, _normalise(last, layers))
    ops: list[PlannedOp] = []
    rows: list[int] = []
    start = 0
    for r in (*last, *rest):
        ops += r.ops
        rows += [start + row for row in r.rows]
        start += len(r.y)
    targets = sorted({o.target for o in ops})
    matrix = _mixing_matrix(ops, targets, rows, weights, raw.dtype)
    sums = mix(matrix, _concat(values))
    moved = {r.ops[0].op: found for r in results if (found := statistics(r.params))}
    return dict(zip(targets, sums, strict=True)), moved


def _compute(
    ops: tuple[PlannedOp, ...],
    sources: list[int],
    x: jax.Array,
    layers: Layers,
    weights: jax.Array | None,
    params: Params,
    key: jax.Array | None,
) -> _Results:
    """One kind: a result for each operation, or source if they are equal."""
    form = ops[0].form
    live = jnp.ones(len(ops)) if weights is None else alive(weights, ops)
    reads = [sources.index(o.source) for o in ops]
    if form.is_parametric or form.draws:
        rows, count = [*range(len(ops))], live
    else:
        used = sorted(set(reads))
        rows = [used.index(r) for r in reads]
        count = jnp.asarray(np.eye(len(used))[rows].T, live.dtype) @ live
        reads = used
    own = layers.of(count, draw_keys(ops, key))
    y = form.compute(_expand(x, reads), params, ops[0].stride, own)
    return _Results(ops, y, rows, count, params.get("norm", {}), params)


def _normalise(results: Sequence[_Results], layers: Layers) -> jax.Array:
    """All at once; new running statistics go into the dicts of each."""
    factors = [r.norm for r in results]
    names = [*factors[0]]
    whole = {name: _concat([f[name] for f in factors]) for name in names}
    count = _concat([r.live for r in results])
    y = layers.of(count).normalise(_concat([r.y for r in results]), whole)
    ends = np.cumsum([len(r.y) for r in results])[:-1]
    for name in names:
        for own, part in zip(factors, jnp.split(whole[name], ends), strict=True):
            own[name] = part
    return y


def _kinds(ops: Sequence[PlannedOp]) -> list[tuple[PlannedOp, ...]]:
    """Operations that do the same, in their order."""

    def kind(o: PlannedOp) -> tuple[str, int]:
        return o.op, o.stride

    ordered = sorted(ops, key=kind)
    return [tuple(group) for _, group in itertools.groupby(ordered, kind)]


def _tell_sources(
    ops: Sequence[PlannedOp],
    states: Mapping[int, jax.Array],
    layers: Layers,
    weights: jax.Array | None,
) -> None:
    """What the first ReLUs of operations receive: each source with its readers."""
    behind = tuple(o for o in ops if o.form.relu)
    if not behind:
        return
    live = jnp.ones(len(behind)) if weights is None else alive(weights, behind)
    sources = sorted({o.source for o in behind})
    reads = np.array([[o.source == s for o in behind] for s in sources])
    x = jnp.stack([states[s] for s in sources])
    assert layers.record is not None
    layers.record.relu(x, jnp.asarray(reads, live.dtype) @ live)


def _leading(plan: CellPlan, node: int, first: int) -> bool:
    """Whether an operation of a wave or of a later one adds to a node."""
    return any(o.target == node for wave in plan.waves[first:] for o in wave)


def _node_shape(plan: CellPlan, state: jax.Array) -> tuple[int, ...]:
    batch, height, width, channels = state.shape
    stride = max((o.stride for o in plan.ops), default=1)
    return batch, -(-height // stride), -(-width // stride), channels


def _keep_statistics(params: Params, found: Mapping[str, list[Any]]) -> None:
    """Puts running statistics of the waves' parameters together in the cell's."""
    for op, parts in found.items():
        whole = jax.tree.map(lambda *p: jnp.concatenate(p), *parts)
        params[op] = merge(params[op], whole)


def _mixing_matrix(
    ops: Sequence[PlannedOp],
    targets: list[int],
    rows: list[int],
    weights: jax.Array | None,
    dtype: Any,
) -> jax.Array:
    """`[T, K]`: how much of each result goes to each target node.

    Architecture weights are placed by a product with a constant, which is one small
    operation in both directions where indexing would be one for each operation.
    """
    shape = (len(targets), max(rows) + 1)
    where = [(targets.index(o.target), k) for o, k in zip(ops, rows, strict=True)]
    if weights is None:
        constant = np.zeros(shape)
        for place in where:
            constant[place] += 1
        return jnp.asarray(constant, dtype)
    constant = np.zeros((*shape, *weights.shape))
    for (t, k), o in zip(where, ops, strict=True):
        constant[t, k, o.edge, o.column] += 1
    flat = jnp.asarray(constant.reshape(-1, weights.size), weights.dtype)
    return (flat @ weights.reshape(-1)).reshape(shape)


def _expand(x: jax.Array, index: list[int]) -> jax.Array:
    """Rows of x by a static index, written so that the derivative is one operation.

    A single row stays one: operations read it together.
    """
    count = x.shape[0]
    if index == list(range(count)):
        return x
    if len(set(index)) == 1:
        return x[index[0]][None]
    if index == list(range(count)) * (len(index) // count):
        tiled = jnp.broadcast_to(x, (len(index) // count, *x.shape))
        return tiled.reshape(len(index), *x.shape[1:])
    return mix(jnp.asarray(np.eye(count)[index], x.dtype), x)


def _concat(parts: Sequence[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)
