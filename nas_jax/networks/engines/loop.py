"""A cell's operations one after another: one loop that holds each kind of them once.

Both passes are loops over the kept operations whose body switches on the kind, so the
program is as large for 14 edges as for one, and no more than one operation's
intermediates exist at a time. The backward loop computes each operation again from its
source state: only the states of a cell are stored.

Shapes: N operations of the loop, S states, B batch, H and W image, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from nas_jax.networks.engines.plan import CellPlan, PlannedOp, draw_keys, take
from nas_jax.networks.kernels.choice import Static, is_primal
from nas_jax.networks.layers import Layers, Norm, Params
from nas_jax.networks.ops import get_op


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The operations of one loop, in an order in which every source is complete.

    Attributes:
        ops: The operations, of one stride.
        first_source: Number of the state that is the first source.
        first_target: Number of the state that is the first target.
        norm: What batch normalisation does.
        dtype: Name of the computation's dtype.
    """

    ops: tuple[PlannedOp, ...]
    first_source: int
    first_target: int
    norm: Norm
    dtype: str

    @property
    def stride(self) -> int:
        """Stride of all operations."""
        return self.ops[0].stride

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of operation that occurs; its index is the switch's."""
        return tuple(sorted({o.op for o in self.ops}))

    def members(self, kind: str) -> list[int]:
        """Places of the operations of a kind, by row of its stacked parameters."""
        return [i for i, o in enumerate(self.ops) if o.op == kind]

    def table(self) -> jax.Array:
        """Kind, source, target and parameter row of every operation, int32 `[N, 4]`."""
        kinds = self.kinds
        rows = [
            (
                kinds.index(o.op),
                o.source - self.first_source,
                o.target - self.first_target,
                self.members(o.op).index(i),
            )
            for i, o in enumerate(self.ops)
        ]
        return jnp.asarray(rows, jnp.int32)


def run_cell_loop(
    plan: CellPlan,
    inputs: Sequence[jax.Array],
    weights: jax.Array,
    params: Params,
    norm: Norm,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """The output of a cell, by one loop over operations of one stride, or two.

    The arguments are those of `run_waves`, as parts of mixed operations.
    """
    count, first = plan.num_inputs, jnp.stack(inputs)
    wide = jnp.promote_types(first.dtype, jnp.float32)
    stride = max((o.stride for o in plan.ops), default=1)
    batch, height, width, channels = inputs[0].shape
    size = (-(-height // stride), -(-width // stride))
    nodes = jnp.zeros((len(plan.nodes), batch, *size, channels), wide)

    def run(
        ops: Sequence[PlannedOp],
        sources: jax.Array | None,
        nodes: jax.Array,
        numbers: tuple[int, int],
    ) -> jax.Array:
        if not ops:
            return nodes
        schedule = Schedule(tuple(ops), *numbers, norm, first.dtype.name)
        kinds = {k: tuple(o for o in ops if o.op == k) for k in schedule.kinds}
        own = {kind: plan.select(params, some) for kind, some in kinds.items()}
        scale = take(weights, tuple(ops)).astype(wide)
        return run_loop(schedule, sources, nodes, scale, own, draw_keys(ops, key))

    if stride == 2:
        nodes = run([o for o in plan.ops if o.stride == 2], first, nodes, (0, count))
        rest = [o for o in plan.ops if o.stride == 1]
        nodes = run(rest, None, nodes, (count, count))
    else:
        both = jnp.concatenate([first.astype(wide), nodes])
        nodes = run(plan.ops, None, both, (0, 0))[count:]
    nodes = nodes.astype(first.dtype)
    return jnp.concatenate([nodes[s - count] for s in plan.concat], axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run_loop(
    schedule: Schedule,
    sources: jax.Array | None,
    nodes: jax.Array,
    weights: jax.Array,
    params: Params,
    keys: jax.Array | None,
) -> jax.Array:
    """Adds every operation's weighted result to its target.

    The mixed operation of Liu et al. 2019 (arXiv 1806.09055), equation 2, and the sum
    of a node's edges, equation 1.

    Args:
        schedule: The operations.
        sources: States to read, `[S, B, H, W, C]`; None reads the nodes themselves.
        nodes: States to add to, `[S', B, H', W', C]`, float32 or wider.
        weights: A factor for each operation, `[N]`.
        params: Parameters of the operations by kind and name, stacked in the order of
            the schedule.
        keys: A key for each operation, `[N]`; None where none of them draws.

    Returns:
        The new nodes, of the shape and dtype of the old.
    """
    branches = [
        functools.partial(
            _operate, kind, schedule.stride, schedule.norm, schedule.dtype
        )
        for kind in schedule.kinds
    ]

    def body(nodes: jax.Array, step: Any) -> tuple[jax.Array, None]:
        (kind, source, target, row), weight, key = step
        states = nodes if sources is None else sources
        result = lax.switch(kind, branches, params, row, states, source, key)
        return _add(nodes, target, weight * result.astype(nodes.dtype)), None

    return lax.scan(body, nodes, (schedule.table(), weights, keys))[0]


def _forward(schedule, *arguments):  # type: ignore[no-untyped-def]
    sources, nodes, weights, params, keys = jax.tree.map(
        lambda leaf: leaf.value, arguments, is_leaf=is_primal
    )
    # What nobody asks for is not computed: a step of the alphas needs no cotangent of
    # the parameters, and one of the parameters none of the alphas.
    wanted = tuple(
        any(leaf.perturbed for leaf in jax.tree.leaves(argument, is_leaf=is_primal))
        for argument in arguments[2:4]
    )
    nodes = run_loop(schedule, sources, nodes, weights, params, keys)
    low = nodes.astype(schedule.dtype)
    saved = sources, low, weights, params, keys, Static(wanted)
    return nodes, saved


def _backward(schedule, saved, nodes_bar):  # type: ignore[no-untyped-def]
    sources, nodes, weights, params, keys, static = saved
    want_weights, want_params = static.value
    if isinstance(nodes_bar, SymbolicZero):
        nodes_bar = jnp.zeros(nodes_bar.shape, nodes_bar.dtype)
    size = max(map(_num_parameters, params.values()))
    branches = [
        functools.partial(
            _operate_bar,
            kind,
            schedule.stride,
            schedule.norm,
            size if want_params else None,
            want_weights,
        )
        for kind in schedule.kinds
    ]

    def body(carry: Any, step: Any) -> tuple[Any, Any]:
        nodes_bar, sources_bar = carry
        (kind, source, target, row), weight, key = step
        states = nodes if sources is None else sources
        state_bar, *rest = lax.switch(
            kind, branches, params, row, states, source, key, weight, nodes_bar, target
        )
        if sources is None:
            nodes_bar = _add(nodes_bar, source, state_bar)
        else:
            sources_bar = _add(sources_bar, source, state_bar)
        return (nodes_bar, sources_bar), rest

    sources_bar = None
    if sources is not None:
        sources_bar = jnp.zeros(sources.shape, nodes_bar.dtype)
    (nodes_bar, sources_bar), (params_bar, weights_bar) = lax.scan(
        body, (nodes_bar, sources_bar), (schedule.table(), weights, keys), reverse=True
    )
    if sources is not None:
        sources_bar = sources_bar.astype(sources.dtype)
    if want_params:
        params_bar = _unpack(schedule, params, params_bar)
    return sources_bar, nodes_bar, weights_bar, params_bar, None


run_loop.defvjp(_forward, _backward, symbolic_zeros=True)


# Traced once for all cells of one shape, thanks to jit's own cache.
@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _operate(
    kind: str,
    stride: int,
    norm: Norm,
    dtype: str,
    params: Params,
    row: jax.Array,
    states: jax.Array,
    source: jax.Array,
    key: jax.Array | None,
) -> jax.Array:
    """The result of one operation.

    It reads its source state itself: outside the switch that would be a copy.
    """
    state = _read(states, source).astype(dtype)
    return operate(kind, stride, norm, key, state[None], _one(params[kind], row))[0]


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _operate_bar(
    kind: str,
    stride: int,
    norm: Norm,
    size: int | None,
    want_weight: bool,
    params: Params,
    row: jax.Array,
    states: jax.Array,
    source: jax.Array,
    key: jax.Array | None,
    weight: jax.Array,
    nodes_bar: jax.Array,
    target: jax.Array,
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Cotangents of the state, of the parameters in a flat row and of the weight.

    The row has `size` numbers for all branches of a switch; None for no such cotangent.
    """
    one = _one(params[kind], row)
    state, result_bar = _read(states, source), _read(nodes_bar, target)
    wide = result_bar.dtype
    compute = functools.partial(operate, kind, stride, norm, key)
    if size is None:
        result, pull = jax.vjp(lambda x: compute(x, one), state[None])
    else:
        result, pull = jax.vjp(compute, state[None], one)
    weight_bar = jnp.sum(result[0].astype(wide) * result_bar) if want_weight else None
    state_bar, *one_bar = pull((weight * result_bar).astype(result.dtype)[None])
    params_bar = None
    if size is not None:
        flat = [leaf.astype(wide).reshape(-1) for leaf in jax.tree.leaves(one_bar)]
        missing = size - sum(part.size for part in flat)
        params_bar = jnp.concatenate([*flat, jnp.zeros(missing, wide)])
    return state_bar[0].astype(wide), params_bar, weight_bar


def operate(
    kind: str,
    stride: int,
    norm: Norm,
    key: jax.Array | None,
    x: jax.Array,
    params: Params,
) -> jax.Array:
    """An operation of a mixed operation, whole: `[1, B, H, W, C]` of a stack of one."""
    form = get_op(kind).form(stride)
    layers = Layers(norm, keys=None if key is None else key[None])
    if form.relu:
        x = layers.relu(x)
    y = form.compute(x, params, stride, layers)
    return layers.normalise(y) if form.is_normalised(mixed=True) else y


def _one(params: Params, row: jax.Array) -> Params:
    """The parameters of one operation, as stacks of one."""
    return jax.tree.map(lambda p: lax.dynamic_slice_in_dim(p, row, 1), params)


def _num_parameters(params: Params) -> int:
    return sum(math.prod(p.shape[1:]) for p in jax.tree.leaves(params))


def _unpack(schedule: Schedule, params: Params, flat: jax.Array) -> Params:
    """Stacked cotangents of the parameters from the flat one of each operation."""
    result = {}
    for kind in schedule.kinds:
        rows, start, bars = flat[np.array(schedule.members(kind))], 0, []
        leaves, tree = jax.tree.flatten(params[kind])
        for p in leaves:
            stop = start + math.prod(p.shape[1:])
            bars.append(rows[:, start:stop].reshape(p.shape).astype(p.dtype))
            start = stop
        result[kind] = jax.tree.unflatten(tree, bars)
    return result


def _read(states: jax.Array, index: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(states, index, keepdims=False)


def _add(states: jax.Array, index: jax.Array, value: jax.Array) -> jax.Array:
    total = _read(states, index) + value
    return lax.dynamic_update_index_in_dim(states, total, index, 0)
