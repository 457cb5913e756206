"""NAS-Bench-201's networks, all 15,625 of them, as one program.

Dong and Yang 2020 (arXiv 2001.00326), section 2.1 and figure 1. The architecture is an
argument, so scoring another one compiles nothing; an edge computes the one operation
that it has (`choice`), and equal cells are turns of one loop. Under `vmap` over
architectures every operation is computed and one is selected.

Shapes: B batch, H and W image, C and D channels, N cells of a stage, E = 6 edges.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.networks.choice import choose
from nas_jax.networks.family import (
    ConvNorm,
    Dense,
    NormParams,
    Params,
    check_codes,
    conv_norm,
    convolve,
    gated,
    observed_classifier,
    observed_norm,
    observed_stem,
)
from nas_jax.networks.layers import Norm
from nas_jax.networks.observed import Observed, Seen
from nas_jax.networks.pools import avg_pool
from nas_jax.spaces.nasbench201 import NASBENCH201_OPS, nasbench201_space

STAGES = 3
"""Stages of cells; between two of them a residual block halves the image."""

_CELL = nasbench201_space().cells[0]
AREAS = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
"""Pixels of the kernels of the operations that have one."""


class NasBench201Family(nn.Module):
    """The network of any architecture: stem, three stages of cells, classifier.

    A convolution is ReLU, convolution, batch normalisation with parameters; pools are
    not normalised. Normalisation keeps no running statistics: the family is there to
    be scored and to share weights.

    Attributes:
        channels: Channels of the first stage; they double with each (published: 16).
        cells: Cells of each stage (published: 5).
        num_classes: Number of logits.
        norm: What batch normalisation does.
    """

    channels: int = 16
    cells: int = 5
    num_classes: int = 10
    norm: Norm = "batch"

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        operations: jax.Array,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits of an architecture, and all that proxies ask for.

        What nobody reads is not in the compiled program.

        Args:
            images: `[B, H, W, image channels]`, float.
            operations: Index in `NASBENCH201_OPS` of each edge's operation, `[6]`
                int32; may be traced.
            gates: See `Observed`: one array for each entry of its `channels`.

        Raises:
            ConfigError: If the image cannot be halved twice, or the operations are
                not those of one architecture.
        """
        check_halves(*images.shape[1:3])
        check_codes({"operations": operations}, self.code_limits)
        seen = Seen(gates)
        x = observed_stem(images, self.channels, self.norm, seen)
        for stage in range(STAGES):
            if stage:
                x = observed_reduction(x, f"reduce_{stage}", self.norm, seen)
            x = self._stage(x, operations, f"stage_{stage}", seen)
        last = NormParams(x.shape[-1], name="last_norm")(x.dtype)
        x, variance = observed_norm(x, self.norm, last)
        seen.norm(variance)
        seen.relu(x)
        return observed_classifier(nn.relu(x), self.num_classes, seen)

    @property
    def code_limits(self) -> dict[str, np.ndarray]:
        """What an architecture's arrays are below, by name."""
        return {"operations": np.full(len(_CELL.edges), len(NASBENCH201_OPS))}

    def _stage(
        self, x: jax.Array, operations: jax.Array, name: str, seen: Seen
    ) -> jax.Array:
        """Equal cells, one after another: one loop."""
        edges, channels = len(_CELL.edges), x.shape[-1]
        stack = (self.cells, edges)
        params = {
            op: ConvNorm(
                stack, round(area**0.5), (channels, channels), name=f"{name}_{op}"
            )(x.dtype)
            for op, area in AREAS.items()
        }
        areas = _areas(operations)
        convs = (areas > 0).astype(x.dtype)
        every = jnp.tile(convs, self.cells)
        fan_in = jnp.tile(areas * channels, self.cells)
        shape = (self.cells * edges, x.shape[0], channels)
        gate = seen.stacked_gates(shape, fan_in, every)
        if gate is not None:
            gate = gate.reshape(self.cells, edges, *gate.shape[1:])
        # A backward pass computes a cell again: what it stores of all cells goes
        # through memory four times, which takes a CPU longer.
        run = jax.checkpoint(
            functools.partial(_cell, operations, self.norm), prevent_cse=False
        )
        x, (sources, variances) = lax.scan(run, x, (params, gate))
        readers = jnp.array([[s == n for s, _ in _CELL.edges] for n in range(3)])
        counts = jnp.tile(readers.astype(x.dtype) @ convs, self.cells)
        seen.relu_inputs.append((sources.reshape(-1, *x.shape), counts))
        seen.variances.append((variances.reshape(-1, channels), every))
        return x

    def macs(self, image_shape: tuple[int, ...], operations: jax.Array) -> jax.Array:
        """Multiply-accumulates of an architecture for one image, as published.

        Those of convolutions, padding included, and of the classifier, whose biases
        are one each. Edges that no signal passes count like the others.

        Args:
            image_shape: Height, width and channels.
            operations: `[6]` int32, may be traced.

        Returns:
            A scalar of JAX's default float.

        Raises:
            ConfigError: If the image cannot be halved twice, or the operations are
                not those of one architecture.
        """
        check_codes({"operations": operations}, self.code_limits)
        fixed, edge = fixed_and_edge_macs(
            image_shape, self.channels, self.cells, self.num_classes
        )
        return fixed + edge * jnp.sum(_areas(operations).astype(float))


def observed_reduction(x: jax.Array, name: str, norm: Norm, seen: Seen) -> jax.Array:
    """ResNet's basic block of stride 2, with a mean pool in its shortcut.

    Its modules are `{name}_a`, `{name}_b` and `{name}_shortcut`.

    Args:
        x: `[B, H, W, C]`, of even height and width.
        name: What its modules are called after.
        norm: What batch normalisation does.
        seen: Notes of the forward pass.

    Returns:
        `[B, H / 2, W / 2, 2 C]`.
    """
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    shortcut = jnp.mean(squares, axis=(2, 4))
    for part, stride in (("a", 2), ("b", 1)):
        size = (x.shape[-1], 2 * channels)
        params = ConvNorm((), 3, size, name=f"{name}_{part}")(x.dtype)
        gate = seen.gate(batch, 2 * channels, 9 * x.shape[-1])
        seen.relu(x)
        x, variance = conv_norm(nn.relu(x), params, stride, norm, gate)
        seen.norm(variance)
    size = (channels, 2 * channels)
    dense = Dense(size, bias=False, name=f"{name}_shortcut")(x.dtype)
    gate = seen.gate(batch, 2 * channels, channels)
    return x + gated(shortcut @ dense["kernel"], gate)


def fixed_and_edge_macs(
    image_shape: tuple[int, ...], channels: int, cells: int, classes: int
) -> tuple[int, int]:
    """Multiply-accumulates of all but the cells, and of a 1x1 convolution on one edge.

    Those of the classifier, whose biases are one each, are counted; those of the edge
    are summed over all cells.

    Args:
        image_shape: Height, width and channels.
        channels: Channels of the first stage.
        cells: Cells of each stage.
        classes: Number of logits.

    Raises:
        ConfigError: If the image cannot be halved twice.
    """
    height, width, depth = image_shape
    check_halves(height, width)
    fixed = 9 * depth * channels * height * width
    edge = 0
    for stage in range(STAGES):
        if stage:
            height, width = height // 2, width // 2
            # C to 2C and 2C to 2C, 3x3; and C to 2C, 1x1.
            fixed += (9 * 2 + 9 * 4 + 2) * channels**2 * height * width
            channels *= 2
        edge += cells * channels**2 * height * width
    return fixed + (channels + 1) * classes, edge


def live_operations(params: Mapping[str, Any], operations: jax.Array) -> dict[str, Any]:
    """1 for every layer that an architecture has, else 0.

    Args:
        params: Parameters of a `NasBench201Family`, values or shapes.
        operations: `[6]` int32, may be traced.

    Returns:
        The tree of `params` with float32 arrays: `[cells, edges]` for what is stacked,
        and `[]` for all else.
    """

    def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        for op in AREAS:
            if path[0].key.endswith(op):
                chosen = operations == NASBENCH201_OPS.index(op)
                return jnp.tile(chosen.astype(jnp.float32), (leaf.shape[0], 1))
        return jnp.ones(())

    return jax.tree_util.tree_map_with_path(entry, dict(params))


def _areas(operations: jax.Array) -> jax.Array:
    """Pixels of each operation's kernel, 0 where it has none."""
    return jnp.array([AREAS.get(op, 0) for op in NASBENCH201_OPS])[operations]


def _cell(
    operations: jax.Array,
    norm: Norm,
    x: jax.Array,
    own: tuple[Params, jax.Array | None],
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """One cell: node 3, the nodes that edges read `[3, B, H, W, C]`, variances.

    An operation and its normalisation are two choices, so that a backward pass
    computes no convolution again for the statistics of its result.
    """
    params, gates = own
    branches = [functools.partial(_operate, op) for op in NASBENCH201_OPS]
    norms: list[Callable[..., Any]] = [_pass_on, functools.partial(_normalise, norm)]
    nodes = {0: x}
    variances = []
    for index, (source, target) in enumerate(_CELL.edges):
        op = operations[index]
        mine, gate = jax.tree.map(lambda p, i=index: p[i], (params, gates))
        kernels = {name: p["kernel"] for name, p in mine.items()}
        affine = {
            name: _select(op, {o: p[name] for o, p in mine.items()})
            for name in ("scale", "shift")
        }
        y = choose(branches, op, nodes[source], kernels, gate)
        is_conv = (_areas(op) > 0).astype(jnp.int32)
        result, variance = choose(norms, is_conv, y, affine)
        nodes[target] = nodes[target] + result if target in nodes else result
        variances.append(variance)
    sources = jnp.stack([nodes[n] for n in range(3)])
    return nodes[3], (sources, jnp.stack(variances))


def _select(op: jax.Array, arrays: Mapping[str, jax.Array]) -> jax.Array:
    """The array of an operation; any of them for one that has none."""
    first, *rest = arrays.items()
    chosen = first[1]
    for name, array in rest:
        chosen = jnp.where(op == NASBENCH201_OPS.index(name), array, chosen)
    return chosen


# Traced once for all edges of a stage, thanks to jit's own cache.
@functools.partial(jax.jit, static_argnums=0)
def _operate(
    op: str, x: jax.Array, kernels: Mapping[str, jax.Array], gate: jax.Array | None
) -> jax.Array:
    """An operation's result before it is normalised."""
    if op in AREAS:
        return gated(convolve(nn.relu(x), kernels[op], 1), gate)
    if op == "avg_pool_3x3":
        return avg_pool(x[None], 1)[0]
    return x if op == "skip_connect" else jnp.zeros_like(x)


@functools.partial(jax.jit, static_argnums=0)
def _normalise(norm: Norm, y: jax.Array, params: Params) -> tuple[jax.Array, jax.Array]:
    return observed_norm(y, norm, params)


def _pass_on(y: jax.Array, params: Params) -> tuple[jax.Array, jax.Array]:
    """What is not normalised, with variances of 0."""
    del params
    return y, jnp.zeros(y.shape[-1:], jnp.promote_types(y.dtype, jnp.float32))


def check_halves(height: int, width: int) -> None:
    """Refuse an image that the residual blocks cannot halve.

    Raises:
        ConfigError: Names the size and the nearest that works.
    """
    divisor = 2 ** (STAGES - 1)
    if height % divisor or width % divisor:
        nearest = max(1, round(max(height, width) / divisor)) * divisor
        raise ConfigError(
            f"image size {height}x{width} does not fit NAS-Bench-201's network: height "
            f"and width must be multiples of {divisor}; resize the images, for example "
            f"to {nearest}x{nearest}"
        )
