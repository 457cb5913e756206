"""NAS-Bench-201's supernet: every kept operation of every edge, weighted.

Dong and Yang 2020 (arXiv 2001.00326), figure 1 and section 4; the network is that of
AutoDL-Projects' searches (lib/models/cell_searchs/search_model_darts.py): operations
are normalised by the batch without parameters, stem and residual blocks with them.

All edges that leave a node run together: it is rectified once and pooled once, and the
kernels of one operation are one convolution with the channels of all its edges side by
side. Equal cells are turns of one loop.

Shapes: B batch, H and W image, C channels, N cells of a stage, E = 6 edges, K edges
that keep an operation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from nas_jax.networks.cell import Remat
from nas_jax.networks.family import (
    NormParams,
    conv_norm,
    observed_classifier,
    observed_norm,
    observed_stem,
)
from nas_jax.networks.layers import Norm, weight
from nas_jax.networks.nasbench201 import (
    AREAS,
    STAGES,
    check_halves,
    fixed_and_edge_macs,
    observed_reduction,
)
from nas_jax.networks.observed import Observed, Seen
from nas_jax.networks.pools import avg_pool
from nas_jax.networks.supernet import ArchWeights, Dtype, check_weights
from nas_jax.spaces import NASBENCH201_OPS, SpaceMask, nasbench201_space

_CELL = nasbench201_space().cells[0]
_NODES = range(_CELL.num_inputs + _CELL.num_nodes)

Arrays = dict[str, jax.Array]


class NasBench201Supernet(nn.Module):
    """A one-shot network over NAS-Bench-201 (Liu et al. 2019, section 2.2).

    Operations that the mask drops are not built. To compare many candidates in one
    program, keep the mask and give architecture weights with zeros instead.

    Attributes:
        mask: The operations to build.
        channels: Channels of the first stage; they double with each (published: 16).
        cells: Cells of each stage (published: 5).
        num_classes: Number of logits.
        norm: What batch normalisation does.
        remat: What the backward pass computes again: nothing, each operation, all
            edges that leave a node ("wave"), or the cell.
        dtype: What convolutions and pools compute in. Parameters, statistics, sums of
            operations and the loss are float32 or wider all the same.
    """

    mask: SpaceMask
    channels: int = 16
    cells: int = 5
    num_classes: int = 10
    norm: Norm = "batch"
    remat: Remat = "op"
    dtype: Dtype = "float32"

    def __call__(self, images: jax.Array, arch_weights: ArchWeights) -> jax.Array:
        """Logits `[B, num_classes]` of images `[B, H, W, image channels]`, float.

        Args:
            images: The batch.
            arch_weights: `{"cell": [6, 5]}`, one weight for each operation of the
                space. Entries of pruned operations are not read.

        Raises:
            ConfigError: If the image cannot be halved twice.
            MaskError: The weights are none of these operations, see `check_weights`.
        """
        logits = self._forward(images, arch_weights, None, False).logits
        assert logits is not None
        return logits

    def observe(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits and all that proxies ask for.

        A layer takes part, and a ReLU is counted, where an operation's weight is above
        zero. What nobody reads is not in the compiled program.

        Args:
            images: As for the call.
            arch_weights: As for the call.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: If the image cannot be halved twice.
        """
        return self._forward(images, arch_weights, gates, True)

    @nn.compact
    def _forward(
        self,
        images: jax.Array,
        arch_weights: ArchWeights,
        gates: Sequence[jax.Array] | None,
        tell: bool,
    ) -> Observed:
        check_halves(*images.shape[1:3])
        check_weights(arch_weights, self.mask.arrays(), not self.is_initializing())
        if self.dtype == "bfloat16":
            images = images.astype(jnp.bfloat16)
        seen = Seen(gates)
        x = observed_stem(images, self.channels, self.norm, seen)
        for stage in range(STAGES):
            if stage:
                x = observed_reduction(x, f"reduce_{stage}", self.norm, seen)
            x = self._stage(x, arch_weights[_CELL.name], f"stage_{stage}", seen, tell)
        last = NormParams(x.shape[-1], name="last_norm")(x.dtype)
        x, variance = observed_norm(x, self.norm, last)
        seen.norm(variance)
        seen.relu(x)
        return observed_classifier(nn.relu(x), self.num_classes, seen)

    def _stage(
        self, x: jax.Array, weights: jax.Array, name: str, seen: Seen, tell: bool
    ) -> jax.Array:
        """Equal cells, one after another: one loop."""
        batch, *_, channels = x.shape
        kernels, gates, live = {}, {}, {}
        for op, area in AREAS.items():
            edges = kept_edges(self.mask, op)
            if not edges:
                continue
            sizes = (self.cells, len(edges), round(area**0.5), channels)
            kernels[op] = Kernels(sizes, name=f"{name}_{op}")(x.dtype)
            live[op] = _live(self.mask, weights, op)
            every = jnp.tile(live[op], self.cells)
            shape = (self.cells * len(edges), batch, channels)
            gate = seen.stacked_gates(shape, area * channels, every)
            if gate is not None:
                gates[op] = gate.reshape(self.cells, len(edges), batch, channels)
        cell: Callable[..., Any] = _cell
        if self.remat == "cell":
            cell = jax.checkpoint(_cell, static_argnums=(0, 1, 2, 3))
        run = functools.partial(cell, self.mask, self.norm, self.remat, tell, weights)
        x, told = lax.scan(run, x, (kernels, gates), length=self.cells)
        if told is not None:
            sources, variances = told
            readers = _readers(self.mask, live)
            counts = jnp.tile(readers, self.cells)
            seen.relu_inputs.append((sources.reshape(-1, *x.shape), counts))
            for op, values in variances.items():
                every = jnp.tile(live[op], self.cells)
                seen.variances.append((values.reshape(-1, channels), every))
        return x

    def macs(
        self, image_shape: tuple[int, ...], arch_weights: ArchWeights
    ) -> jax.Array:
        """Multiply-accumulates of all live convolutions for one image, a scalar.

        Those of convolutions, padding included, and of the classifier, as
        `NasBench201Family.macs` counts them; mixing, normalisation and pools are not
        counted.

        Args:
            image_shape: Height, width and channels.
            arch_weights: `{"cell": [6, 5]}`; an operation is live above zero.

        Raises:
            ConfigError: If the image cannot be halved twice.
        """
        weights = arch_weights[_CELL.name]
        area = jnp.zeros(())
        for op, pixels in AREAS.items():
            if kept_edges(self.mask, op):
                live = _live(self.mask, weights, op)
                area += pixels * jnp.sum(live.astype(float))
        fixed, edge = fixed_and_edge_macs(
            image_shape, self.channels, self.cells, self.num_classes
        )
        return fixed + edge * area


class Kernels(nn.Module):
    """Stacked kernels of convolutions that are normalised without parameters.

    Attributes:
        shape: Cells, kernels, their height and width, and channels in and out.
    """

    shape: tuple[int, int, int, int]

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> jax.Array:
        """`[N, K, k, k, C, C]`."""
        cells, edges, size, channels = self.shape
        shape = (cells, edges, size, size, channels, channels)
        return weight(self, "kernel", shape, dtype)


class Outgoing(NamedTuple):
    """The edges that leave a node and keep an operation.

    Attributes:
        op: The operation, other than `none`.
        edges: Indices of the edges.
        places: Their places in the stack of all edges that keep the operation.
    """

    op: str
    edges: tuple[int, ...]
    places: tuple[int, ...]


def live_layers(
    network: NasBench201Supernet, params: Mapping[str, Any], arch_weights: ArchWeights
) -> dict[str, Any]:
    """1 for every layer whose operation has a weight above zero, else 0.

    Args:
        network: The supernet.
        params: Its parameters, values or shapes.
        arch_weights: `{"cell": [6, 5]}`; zero where not alive.

    Returns:
        The tree of `params` with float32 arrays: `[N, K]` for stacked kernels, and `[]`
        for all else.
    """
    weights = arch_weights[_CELL.name]

    def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        for op in AREAS:
            if path[0].key.endswith(op):
                return jnp.tile(_live(network.mask, weights, op), (leaf.shape[0], 1))
        return jnp.ones(())

    return jax.tree_util.tree_map_with_path(entry, dict(params))


def kept_edges(mask: SpaceMask, op: str) -> tuple[int, ...]:
    """Edges that keep an operation, which is the order of its stacked kernels."""
    edges = range(len(_CELL.edges))
    return tuple(e for e in edges if mask.keeps(_CELL.name, e, op))


def outgoing(mask: SpaceMask, node: int) -> list[Outgoing]:
    """What leaves a node, operation by operation; `none` leaves nothing."""
    found = []
    for op in NASBENCH201_OPS[1:]:
        kept = kept_edges(mask, op)
        places = tuple(i for i, e in enumerate(kept) if _CELL.edges[e][0] == node)
        if places:
            found.append(Outgoing(op, tuple(kept[i] for i in places), places))
    return found


def _column(weights: jax.Array, op: str) -> jax.Array:
    return weights[:, NASBENCH201_OPS.index(op)]


def _live(mask: SpaceMask, weights: jax.Array, op: str) -> jax.Array:
    """1 or 0 for each edge that keeps an operation, `[K]` float32."""
    chosen = _column(weights, op)[jnp.array(kept_edges(mask, op))]
    return (chosen > 0).astype(jnp.float32)


def _readers(mask: SpaceMask, live: Arrays) -> jax.Array:
    """How many live convolutions read each of the nodes 0, 1 and 2: `[3]`."""
    counts = [jnp.zeros(()) for _ in _NODES[:-1]]
    for op, alive in live.items():
        for edge, one in zip(kept_edges(mask, op), alive, strict=True):
            counts[_CELL.edges[edge][0]] += one
    return jnp.stack(counts)


def _cell(
    mask: SpaceMask,
    norm: Norm,
    remat: Remat,
    tell: bool,
    weights: jax.Array,
    x: jax.Array,
    own: tuple[Arrays, Arrays],
) -> tuple[jax.Array, tuple[jax.Array, Arrays] | None]:
    """One cell: its last node, and what it tells of the others.

    Returns:
        `[B, H, W, C]`; the nodes that edges read `[3, B, H, W, C]` and the variances
        of each operation's outputs `[K, C]`.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    nodes = {0: x}
    sums: dict[int, jax.Array] = {}
    variances: dict[str, dict[int, jax.Array]] = {op: {} for op in own[0]}
    leave: Callable[..., Any] = _leave
    if remat == "wave":
        leave = jax.checkpoint(_leave, static_argnums=(0, 1, 2))
    for node in _NODES[:-1]:
        leaving = tuple(outgoing(mask, node))
        results = leave(norm, remat, leaving, weights, nodes[node], *own)
        for (op, edges, places), (parts, variance) in zip(
            leaving, results, strict=True
        ):
            for i, edge in enumerate(edges):
                target = _CELL.edges[edge][1]
                part = parts[i].astype(wide)
                sums[target] = sums[target] + part if target in sums else part
                if variance is not None:
                    variances[op][places[i]] = variance[i]
        total = sums.pop(node + 1, None)
        nodes[node + 1] = jnp.zeros_like(x) if total is None else total.astype(x.dtype)
    last = nodes.pop(_NODES[-1])
    if not tell:
        return last, None
    stacked = {
        op: jnp.stack([found[i] for i in range(len(found))])
        for op, found in variances.items()
    }
    return last, (jnp.stack([*nodes.values()]), stacked)


def _leave(
    norm: Norm,
    remat: Remat,
    leaving: tuple[Outgoing, ...],
    weights: jax.Array,
    x: jax.Array,
    kernels: Arrays,
    gates: Arrays,
) -> list[tuple[list[jax.Array], jax.Array | None]]:
    """Weighted results of all edges that leave a node x `[B, H, W, C]`."""
    run: Callable[..., Any] = _operate
    if remat == "op":
        run = jax.checkpoint(_operate, static_argnums=(0, 1))
    results = []
    for op, edges, places in leaving:
        mine = _column(weights, op)[jnp.array(edges)]
        at = jnp.array(places)
        kernel, gate = (
            stacks[op][at] if op in stacks else None for stacks in (kernels, gates)
        )
        results.append(run(norm, op, mine, x, kernel, gate))
    return results


def _operate(
    norm: Norm,
    op: str,
    weights: jax.Array,
    x: jax.Array,
    kernels: jax.Array | None,
    gates: jax.Array | None,
) -> tuple[list[jax.Array], jax.Array | None]:
    """One operation on K edges that leave the same node.

    Args:
        norm: What batch normalisation does.
        op: The operation.
        weights: Their architecture weights `[K]`.
        x: The node `[B, H, W, C]`.
        kernels: Their kernels `[K, k, k, C, C]`; None where it has none.
        gates: Gates of their channels `[K, B, C]`, or None.

    Returns:
        Their weighted results, and the variances `[K, C]` that normalised them.
    """
    count, channels = len(weights), x.shape[-1]
    if kernels is None:
        y = x if op == "skip_connect" else avg_pool(x[None], 1)[0]
        return [w * y for w in weights.astype(x.dtype)], None
    # The channels of all edges side by side; the weight is the normalisation's scale.
    scale = jnp.repeat(weights.astype(jnp.promote_types(x.dtype, "float32")), channels)
    size = kernels.shape[1]
    params = {
        "kernel": kernels.transpose(1, 2, 3, 0, 4).reshape(size, size, channels, -1),
        "scale": scale,
        "shift": jnp.zeros_like(scale),
    }
    gate = None
    if gates is not None:
        gate = gates.swapaxes(0, 1).reshape(-1, count * channels)
    y, variance = conv_norm(nn.relu(x), params, 1, norm, gate)
    if norm == "identity":  # Which weighs nothing either.
        y = y * scale.astype(y.dtype)
    return jnp.split(y, count, axis=-1), variance.reshape(count, channels)
