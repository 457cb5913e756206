"""One wave of mixed operations: every operation whose source states exist already.

Shapes: S source states, K stacked operations, T target nodes, B batch, H and W image,
C channels. All convolutions of a wave that do the same are stacked along K; pools and
identities are computed once for each source, whatever the number of its edges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.depthwise import depthwise_conv
from nas_jax.networks.layers import (
    BatchNorm,
    Norm,
    avg_pool,
    halve,
    max_pool,
    mix,
    pointwise_conv,
    sow_relu_input,
    weight,
)
from nas_jax.networks.plan import PlannedOp


@dataclasses.dataclass(frozen=True)
class ConvOp:
    """A depthwise-separable convolution: ReLU, depthwise, 1x1, norm; `twice` or once.

    DARTS' `SepConv` and `DilConv` (cnn/operations.py).
    """

    kernel: int
    dilation: int
    twice: bool


CONV_OPS = {
    "sep_conv_3x3": ConvOp(3, 1, True),
    "sep_conv_5x5": ConvOp(5, 1, True),
    "dil_conv_3x3": ConvOp(3, 2, False),
    "dil_conv_5x5": ConvOp(5, 2, False),
}
POOL_OPS = {"max_pool_3x3": max_pool, "avg_pool_3x3": avg_pool}
SKIP = "skip_connect"
NETWORK_OPS = ("none", SKIP, *POOL_OPS, *CONV_OPS)
"""Every operation that a network can compute."""


class Wave(nn.Module):
    """The weighted sums that one wave adds to its target nodes.

    Attributes:
        ops: The wave's operations (see `plan`).
        channels: Channels C of every state.
        stride: 2 where the sources are the inputs of a reduction cell.
        norm: What batch normalisation does.
        affine: Whether normalisation has parameters (discrete networks).
        tracked: Whether normalisation keeps running statistics (discrete networks).
        pool_norm: Whether pools are followed by normalisation (supernets).
    """

    ops: tuple[PlannedOp, ...]
    channels: int
    stride: int
    norm: Norm = "batch"
    affine: bool = False
    tracked: bool = False
    pool_norm: bool = True

    @nn.compact
    def __call__(
        self, states: Mapping[int, jax.Array], weights: jax.Array | None
    ) -> dict[int, jax.Array]:
        """Sums by target node.

        Args:
            states: The states that exist by index, each `[B, H, W, C]`.
            weights: Architecture weights `[edges, operations]`, or None for ones.
        """
        sources = sorted({o.source for o in self.ops})
        raw = jnp.stack([states[s] for s in sources])
        sums: dict[int, jax.Array] = {}
        for ops, compute in (
            ([o for o in self.ops if not self._is_stacked(o)], self._shared),
            ([o for o in self.ops if self._is_stacked(o)], self._stacked),
        ):
            if not ops:
                continue
            values, columns = compute(ops, sources, raw, weights)
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
        results = [_concat(pools)] if pools else []
        if pools and self.pool_norm:
            results = [BatchNorm(self.norm, name="pool_norm")(results[0])]
        if used[SKIP]:
            results.append(_take(raw, _index(sources, used[SKIP])))
        rows = [(name, source) for name in used for source in used[name]]
        return _concat(results), [rows.index((o.op, o.source)) for o in ops]

    def _stacked(
        self,
        ops: list[PlannedOp],
        sources: list[int],
        raw: jax.Array,
        weights: jax.Array | None,
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
        if self.is_mutable_collection("relu_inputs"):
            one_hot = np.array([[o.source == s for o in ops] for s in sources])
            live = _live(ops, weights)
            sow_relu_input(self, raw, jnp.asarray(one_hot, live.dtype) @ live)
        if twice:
            first = self._separable(twice, inputs, 0, self.stride)
            first = self._norm("norm_0")(first)
            if self.is_mutable_collection("relu_inputs"):
                members = [i for name in twice for i in kinds[name]]
                sow_relu_input(self, first, _live([ops[i] for i in members], weights))
            inputs |= _split(nn.relu(first), {n: len(kinds[n]) for n in twice})
        results = [self._separable(convs, inputs, 1, self.stride)] if convs else []
        if SKIP in kinds:
            results.append(self._halved(inputs[SKIP]))
        order = [i for members in kinds.values() for i in members]
        last = self._norm("norm_1")(_concat(results))
        return last, [order.index(i) for i in range(len(ops))]

    def _norm(self, name: str) -> BatchNorm:
        return BatchNorm(self.norm, self.affine, self.tracked, name=name)

    def _separable(
        self, names: list[str], inputs: dict[str, jax.Array], stage: int, stride: int
    ) -> jax.Array:
        """Depthwise convolutions of each kind, then all 1x1 convolutions at once."""
        results, kernels = [], []
        for name in names:
            conv, x = CONV_OPS[name], inputs[name]
            k, c = conv.kernel, self.channels
            size = x.shape[0]
            w = weight(self, f"{name}_depthwise_{stage}", (size, k, k, c), x.dtype)
            step = 1 if conv.twice and stage == 1 else stride
            results.append(depthwise_conv(x, w, stride=step, dilation=conv.dilation))
            kernels.append(
                weight(self, f"{name}_pointwise_{stage}", (size, c, c), x.dtype)
            )
        return pointwise_conv(_concat(results), _concat(kernels))

    def _halved(self, x: jax.Array) -> jax.Array:
        c = self.channels
        even, odd = (
            weight(self, f"{SKIP}_pointwise_{name}", (x.shape[0], c, width), x.dtype)
            for name, width in (("even", c // 2), ("odd", c - c // 2))
        )
        return halve(x, even, odd)


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
    flat = jnp.asarray(constant.reshape(-1, weights.size), dtype)
    return (flat @ weights.astype(dtype).reshape(-1)).reshape(shape)


def _live(ops: Sequence[PlannedOp], weights: jax.Array | None) -> jax.Array:
    """1 for each operation whose architecture weight is not zero, else 0."""
    if weights is None:
        return jnp.ones(len(ops))
    edges, columns = ([getattr(o, n) for o in ops] for n in ("edge", "column"))
    return (weights[np.array(edges), np.array(columns)] > 0).astype(weights.dtype)


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
