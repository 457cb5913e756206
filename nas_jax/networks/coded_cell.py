"""A cell of the DARTS space whose genes are data: one program for all of them.

The genes are turns of one loop, whose body computes the one operation that a gene has
(`choice`). A node is the sum of its genes: a discrete cell has no architecture weights.

Shapes: G genes, S states, B batch, H and W image, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.networks.backbone import Place
from nas_jax.networks.choice import choose
from nas_jax.networks.depthwise import depthwise_conv
from nas_jax.networks.family import Params, gated, observed_norm
from nas_jax.networks.layers import Norm, halve, weight
from nas_jax.networks.observed import Seen
from nas_jax.networks.operations import CONV_OPS, POOL_OPS, parameter_shapes
from nas_jax.networks.plan import SKIP
from nas_jax.spaces import CellSpec

LAYERS = 4
"""Convolutions that a gene can have: depthwise and 1x1, twice. What has them once has
the last two. The two 1x1 of a factorised reduction count as one, the last."""


def fan_ins(ops: Sequence[str], channels: int) -> np.ndarray:
    """Weights of one channel in every layer of every operation, 0 for no such layer.

    Returns:
        `[2 * operations, LAYERS]` int32: all operations with stride 1, then with 2.
    """
    table = np.zeros((2, len(ops), LAYERS), np.int32)
    for column, op in enumerate(ops):
        if op in CONV_OPS:
            for stage in CONV_OPS[op].stages:
                both = (CONV_OPS[op].kernel ** 2, channels)
                table[:, column, 2 * stage : 2 * stage + 2] = both
        elif op == SKIP:
            table[1, column, -1] = channels
    return table.reshape(-1, LAYERS)


def rows_of(
    spec: CellSpec, place: Place, operations: jax.Array, sources: jax.Array
) -> jax.Array:
    """Which row of `fan_ins` each gene is, `[G]`: with stride 2 if it halves."""
    halves = place.reduction & (sources < spec.num_inputs)
    return operations + len(spec.selectable) * halves


class CodedCell(nn.Module):
    """A cell of a discrete network, normalised without parameters (DARTS, `Cell`).

    Attributes:
        spec: The cell of the space; its nodes are the output.
        place: Where the cell stands.
        norm: What batch normalisation does.
    """

    spec: CellSpec
    place: Place
    norm: Norm = "batch"

    @nn.compact
    def __call__(
        self,
        first: jax.Array,
        second: jax.Array,
        operations: jax.Array,
        sources: jax.Array,
        seen: Seen,
    ) -> jax.Array:
        """`[B, H, W, C1], [B, H, W, C2] -> [B, H', W', nodes * C]`.

        Args:
            first: Output of the cell before the previous one.
            second: Output of the previous cell.
            operations: Index of each gene's operation in `spec.selectable`, `[G]`.
            sources: State that each gene reads, `[G]`.
            seen: Takes notes.
        """
        spec, place = self.spec, self.place
        inputs = jnp.stack(
            [
                CodedProjection(place.channels, reduce, self.norm, name=name)(x, seen)
                for name, x, reduce in (
                    ("preprocess_0", first, place.reduce_first),
                    ("preprocess_1", second, False),
                )
            ]
        )
        rows = rows_of(spec, place, operations, sources)
        fan_in = jnp.asarray(fan_ins(spec.selectable, place.channels))[rows]
        live = (fan_in > 0).astype(jnp.float32)
        batch, channels = inputs.shape[1], place.channels
        gates = seen.stacked_gates((live.size, batch, channels), *_flat(fan_in, live))
        if gates is not None:
            gates = gates.reshape(-1, LAYERS, batch, channels)
        targets = np.array(spec.gene_nodes)
        genes = (rows, sources, targets, self._parameters(inputs.dtype), gates)
        states, (middle, variances) = lax.scan(
            functools.partial(self._gene, inputs), self._start(inputs), genes
        )
        readers = jnp.arange(targets[-1])[:, None] == sources
        counts = readers.astype(live.dtype) @ live[:, -1]
        if place.reduction:
            seen.relu_inputs.append((inputs, counts[: spec.num_inputs]))
            counts = counts[spec.num_inputs :]
        if len(counts):
            seen.relu_inputs.append((states[: len(counts)], counts))
        seen.relu_inputs.append((middle, live[:, 1]))
        seen.variances.append(
            (variances.reshape(-1, channels), live[:, 1::2].reshape(-1))
        )
        return jnp.concatenate([*states[-spec.num_nodes :]], axis=-1)

    def _start(self, inputs: jax.Array) -> jax.Array:
        """The states before the first gene: zeros, and the inputs if as large.

        A reduction cell's inputs are larger than its nodes, so they stand apart.
        """
        batch, height, width, channels = inputs.shape[1:]
        step = 2 if self.place.reduction else 1
        small = (batch, height // step, width // step, channels)
        nodes = jnp.zeros((self.spec.num_nodes, *small), inputs.dtype)
        return nodes if self.place.reduction else jnp.concatenate([inputs, nodes])

    def _parameters(self, dtype: jnp.dtype) -> Params:
        """Of every kind for each gene, which uses those of one, by kind."""
        genes = len(self.spec.gene_nodes)
        stride, channels = (2 if self.place.reduction else 1), self.place.channels
        return {
            op: {
                name: weight(self, f"{op}_{name}", (genes, *shape), dtype)
                for name, shape in parameter_shapes(op, stride, channels).items()
            }
            for op in self.spec.selectable
        }

    def _gene(
        self, inputs: jax.Array, states: jax.Array, gene: Any
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The states with a gene's result; its second ReLU's input; its variances."""
        row, source, target, params, gates = gene
        read = functools.partial(lax.dynamic_index_in_dim, keepdims=False)
        before = self.spec.num_inputs if self.place.reduction else 0
        sources = [read(states, jnp.maximum(source - before, 0))]
        if self.place.reduction:
            sources.append(read(inputs, jnp.minimum(source, before - 1)))
        branches = [
            functools.partial(observed_operation, op, stride + 1, self.norm)
            for stride in range(len(sources))
            for op in self.spec.selectable
        ]
        result, *notes = choose(branches, row, sources, params, gates)
        total = read(states, target - before) + result
        states = lax.dynamic_update_index_in_dim(states, total, target - before, 0)
        return states, tuple(notes)


def observed_operation(
    op: str,
    stride: int,
    norm: Norm,
    sources: Sequence[jax.Array],
    params: Params,
    gates: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One operation of a discrete network, normalised without parameters.

    DARTS' `OPS` (cnn/operations.py); a pool is not normalised (cnn/model.py).

    Args:
        op: Name of the operation.
        stride: 1 or 2.
        norm: What batch normalisation does.
        sources: What it reads, by stride: `[B, H, W, C]` and `[B, 2H, 2W, C]`.
        params: Parameters of every kind.
        gates: `[LAYERS, B, C]`.

    Returns:
        The result and what the second ReLU receives, `[B, H, W, C]`, and the variances
        of both normalisations, `[2, C]`; zeros where there is none.
    """
    x, own = sources[stride - 1][None], params[op]
    middle = jnp.zeros_like(sources[0])
    none = jnp.zeros(x.shape[-1:], jnp.promote_types(x.dtype, jnp.float32))
    variances = [none, none]
    layers = [None] * LAYERS if gates is None else [*gates]
    if op in POOL_OPS:
        x = POOL_OPS[op](x, stride)
    elif op == SKIP and stride == 2:
        halves = (own[f"pointwise_{name}"][None] for name in ("even", "odd"))
        y = gated(halve(nn.relu(x), *halves)[0], layers[-1])
        y, variances[1] = observed_norm(y, norm)
        return y, middle, jnp.stack(variances)
    elif op in CONV_OPS:
        conv = CONV_OPS[op]
        for stage in conv.stages:
            if stage != conv.stages[0]:
                middle, stride = x[0], 1
            y = depthwise_conv(
                nn.relu(x),
                own[f"depthwise_{stage}"][None],
                stride=stride,
                dilation=conv.dilation,
            )[0]
            y = gated(y, layers[2 * stage]) @ own[f"pointwise_{stage}"]
            y, variances[stage] = observed_norm(gated(y, layers[2 * stage + 1]), norm)
            x = y[None]
    return x[0], middle, jnp.stack(variances)


class CodedProjection(nn.Module):
    """A cell's preprocessing: ReLU, 1x1 convolution or factorised reduction, norm.

    The parameters are those of `layers.Projection`.

    Attributes:
        channels: Channels out.
        reduce: Whether to halve the image.
        norm: What batch normalisation does.
    """

    channels: int
    reduce: bool
    norm: Norm = "batch"

    @nn.compact
    def __call__(self, x: jax.Array, seen: Seen) -> jax.Array:
        """`[B, H, W, C] -> [B, H', W', channels]`, half the size where reducing."""
        seen.relu(x)
        batch, *_, inside = x.shape
        gate = seen.gate(batch, self.channels, inside)
        x = nn.relu(x)
        half = self.channels // 2
        if self.reduce:
            even, odd = (
                weight(self, f"pointwise_{name}", (1, inside, width), x.dtype)
                for name, width in (("even", half), ("odd", self.channels - half))
            )
            y = halve(x[None], even, odd)[0]
        else:
            shape = (1, inside, self.channels)
            y = x @ weight(self, "pointwise", shape, x.dtype)[0]
        y, variance = observed_norm(gated(y, gate), self.norm)
        seen.norm(variance)
        return y


def _flat(*arrays: jax.Array) -> list[jax.Array]:
    return [array.reshape(-1) for array in arrays]
