"""One wave of mixed operations: every operation whose source states exist already.

Shapes: S source states, K stacked operations, T target nodes, B batch, H and W image,
C channels. All convolutions of a wave that do the same are stacked along K; pools and
identities are computed once for each source, whatever the number of its edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.depthwise import depthwise_conv
from nas_jax.networks.layers import (
    BatchNorm,
    Norm,
    halve,
    mix,
    pointwise_conv,
)
from nas_jax.networks.operations import CONV_OPS, POOL_OPS
from nas_jax.networks.plan import SKIP, PlannedOp
from nas_jax.networks.sown import gate_channels, is_watched, sow_relu_input

Rows = tuple[tuple[str, int, int], ...]
"""Names of stacked parameters, each with its first row and the one after its last."""


def take_rows(params: Mapping[str, jax.Array], rows: Rows) -> dict[str, jax.Array]:
    """Those rows of the parameters."""
    return {name: params[name][start:stop] for name, start, stop in rows}


class Wave(nn.Module):
    """The weighted sums that one wave adds to its target nodes.

    Attributes:
        ops: The wave's operations (see `plan`).
        stride: 2 where the sources are the inputs of a reduction cell.
        norm: What batch normalisation does.
        affine: Whether normalisation has parameters (discrete networks).
        tracked: Whether normalisation keeps running statistics (discrete networks).
        pool_norm: Whether pools are followed by normalisation (supernets).
        rows: Which rows of the parameters are the wave's; None for all.
    """

    ops: tuple[PlannedOp, ...]
    stride: int
    norm: Norm = "batch"
    affine: bool = False
    tracked: bool = False
    pool_norm: bool = True
    rows: Rows | None = None

    @nn.compact
    def __call__(
        self,
        states: Mapping[int, jax.Array],
        weights: jax.Array | None,
        params: Mapping[str, jax.Array],
    ) -> dict[int, jax.Array]:
        """Sums by target node.

        Args:
            states: The states that exist by index, each `[B, H, W, C]`.
            weights: Architecture weights `[edges, operations]`, or None for ones.
            params: Parameters of the cell by name, stacked by kind.
        """
        # Here and not by the caller: a rematerialised wave would store the slices.
        if self.rows is not None:
            params = take_rows(params, self.rows)
        sources = sorted({o.source for o in self.ops})
        raw = jnp.stack([states[s] for s in sources])
        sums: dict[int, jax.Array] = {}
        shared = [o for o in self.ops if not self._is_stacked(o)]
        stacked = [o for o in self.ops if self._is_stacked(o)]
        for ops in (shared, stacked):
            if not ops:
                continue
            if ops is shared:
                values, columns = self._shared(ops, sources, raw, weights)
            else:
                values, columns = self._stacked(ops, sources, raw, weights, params)
            targets = sorted({o.target for o in ops})
            matrix = _mixing_matrix(ops, targets, columns, weights, raw.dtype)
            mixed = mix(matrix, values)
            for target, value in zip(targets, mixed, strict=True):
                sums[target] = sums[target] + value if target in sums else value
        return sums

    def _is_stacked(self, op: PlannedOp) -> bool:
        return op.op in CONV_OPS or (op.op == SKIP and self.stride == 2)

    def _shared(
        self,
        ops: list[PlannedOp],
        sources: list[int],
        raw: jax.Array,
        weights: jax.Array | None,
    ) -> tuple[jax.Array, list[int]]:
        """Pools and identities: one result for each source and kind.

        Returns:
            Results `[K, B, H, W, C]` and, for each operation, its row in them.
        """
        used = {
            name: sorted({o.source for o in ops if o.op == name})
            for name in (*POOL_OPS, SKIP)
        }
        pools = [
            POOL_OPS[name](_take(raw, _index(sources, used[name])), self.stride)
            for name in POOL_OPS
            if used[name]
        ]
        rows = [(name, source) for name in used for source in used[name]]
        results = [_concat(pools)] if pools else []
        if pools and self.pool_norm:
            pooled = [row for row in rows if row[0] in POOL_OPS]
            count = self._readers(pooled, [(o.op, o.source) for o in ops], ops, weights)
            results = [BatchNorm(self.norm, name="pool_norm")(results[0], count)]
        if used[SKIP]:
            results.append(_take(raw, _index(sources, used[SKIP])))
        return _concat(results), [rows.index((o.op, o.source)) for o in ops]

    def _stacked(
        self,
        ops: list[PlannedOp],
        sources: list[int],
        raw: jax.Array,
        weights: jax.Array | None,
        params: Mapping[str, jax.Array],
    ) -> tuple[jax.Array, list[int]]:
        """Convolutions: stacked by kind, normalised together.

        Returns:
            Results `[K, B, H, W, C]` and, for each operation, its row in them.
        """
        kinds = {
            name: [i for i, o in enumerate(ops) if o.op == name]
            for name in (*CONV_OPS, SKIP)
            if any(o.op == name for o in ops)
        }
        convs = [name for name in kinds if name in CONV_OPS]
        twice = [name for name in convs if CONV_OPS[name].twice]
        act = nn.relu(raw)
        inputs = {
            name: _take(act, _index(sources, [ops[i].source for i in members]))
            for name, members in kinds.items()
        }
        sow_relu_input(
            self, raw, self._readers(sources, [o.source for o in ops], ops, weights)
        )
        if twice:
            live = self._live([ops[i] for name in twice for i in kinds[name]], weights)
            first = self._separable(twice, inputs, params, 0, self.stride, live)
            first = self._normalize(0, first, live)
            sow_relu_input(self, first, live)
            inputs |= _split(nn.relu(first), {n: len(kinds[n]) for n in twice})
        order = [i for members in kinds.values() for i in members]
        live = self._live([ops[i] for i in order], weights)
        results = []
        if convs:
            count = sum(len(kinds[name]) for name in convs)
            own = None if live is None else live[:count]
            results = [self._separable(convs, inputs, params, 1, self.stride, own)]
        if SKIP in kinds:
            halves = (params[f"{SKIP}_pointwise_{name}"] for name in ("even", "odd"))
            results.append(halve(inputs[SKIP], *halves))
        last = self._normalize(1, _concat(results), live)
        return last, [order.index(i) for i in range(len(ops))]

    def _normalize(self, stage: int, x: jax.Array, live: jax.Array | None) -> jax.Array:
        """Gates of the 1x1 convolutions of a stage, and normalisation."""
        x = gate_channels(self, f"pointwise_{stage}", x, x.shape[-1], live)
        norm = BatchNorm(self.norm, self.affine, self.tracked, name=f"norm_{stage}")
        return norm(x, live)

    def _live(
        self, ops: Sequence[PlannedOp], weights: jax.Array | None
    ) -> jax.Array | None:
        """1 for each operation whose weight is not zero, else 0, for who looks on."""
        if weights is None or not is_watched(self):
            return None
        edges, columns = ([getattr(o, n) for o in ops] for n in ("edge", "column"))
        return (weights[np.array(edges), np.array(columns)] > 0).astype(weights.dtype)

    def _readers(
        self,
        rows: Sequence[Any],
        read: Sequence[Any],
        ops: Sequence[PlannedOp],
        weights: jax.Array | None,
    ) -> jax.Array | None:
        """How many live operations read each row, for who looks on.

        Args:
            rows: Names of the rows.
            read: Which of them each operation reads.
            ops: The operations.
            weights: Architecture weights.
        """
        if not is_watched(self):
            return None
        one_hot = jnp.asarray([[r == row for r in read] for row in rows], float)
        live = self._live(ops, weights)
        return one_hot.sum(1) if live is None else one_hot.astype(live.dtype) @ live

    def _separable(
        self,
        names: list[str],
        inputs: dict[str, jax.Array],
        params: Mapping[str, jax.Array],
        stage: int,
        stride: int,
        live: jax.Array | None,
    ) -> jax.Array:
        """Depthwise convolutions of each kind, then all 1x1 convolutions at once."""
        results = [
            depthwise_conv(
                inputs[name],
                params[f"{name}_depthwise_{stage}"],
                stride=1 if CONV_OPS[name].twice and stage == 1 else stride,
                dilation=CONV_OPS[name].dilation,
            )
            for name in names
        ]
        kernels = [params[f"{name}_pointwise_{stage}"] for name in names]
        areas = [
            CONV_OPS[name].kernel ** 2
            for name, result in zip(names, results, strict=True)
            for _ in range(len(result))
        ]
        y = gate_channels(self, f"depthwise_{stage}", _concat(results), areas, live)
        return pointwise_conv(y, _concat(kernels))


def _mixing_matrix(
    ops: Sequence[PlannedOp],
    targets: list[int],
    columns: list[int],
    weights: jax.Array | None,
    dtype: jnp.dtype,
) -> jax.Array:
    """`[T, K]`: how much of each result goes to each target node.

    Architecture weights are placed by a product with a constant, which is one small
    operation in both directions where indexing would be one for each operation.
    """
    shape = (len(targets), max(columns) + 1)
    where = [(targets.index(o.target), k) for o, k in zip(ops, columns, strict=True)]
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


def _index(sources: list[int], used: list[int]) -> list[int]:
    return [sources.index(source) for source in used]


def _take(x: jax.Array, index: list[int]) -> jax.Array:
    """Rows of x by a static index, written so that the derivative is one operation."""
    rows = x.shape[0]
    if index == list(range(rows)):
        return x
    if index == list(range(rows)) * (len(index) // rows):
        tiled = jnp.broadcast_to(x, (len(index) // rows, *x.shape))
        return tiled.reshape(len(index), *x.shape[1:])
    return mix(jnp.asarray(np.eye(rows)[index], x.dtype), x)


def _concat(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _split(x: jax.Array, sizes: dict[str, int]) -> dict[str, jax.Array]:
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name] = x[start : start + size]
        start += size
    return parts
