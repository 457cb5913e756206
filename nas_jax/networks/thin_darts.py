"""The thin network of TE-NAS and ETE-NAS: two cells of one channel, quick to score.

It is the supernet that TE-NAS (Chen, Gong and Wang 2021, arXiv 2102.11535; VITA-Group/
TENAS, lib/models/cell_searchs/search_model_darts_nasnet.py) prunes in, and no small
DARTS supernet: the normalisations of its operations have parameters, its pools have no
normalisation, and one more normalisation with a ReLU precedes the mean over the image.

Shapes: E edges of a cell, N edges that leave a state, C and D channels, H and W image,
B batch. Inside, images are `[N, C, H, W * B]` (see `thin_windows`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.networks.init import init_variables
from nas_jax.networks.layers import BATCH_NORM_EPSILON, Norm
from nas_jax.networks.observed import Observed
from nas_jax.networks.operations import CONV_OPS, NETWORK_OPS, POOL_OPS, ConvOp
from nas_jax.networks.plan import SKIP
from nas_jax.networks.supernet import check_weights
from nas_jax.networks.thin_layers import conv_norm, mix_operations, relu, unstack
from nas_jax.networks.thin_params import (
    array,
    kaiming_fan_out,
    operation_shapes,
    with_norm,
)
from nas_jax.networks.thin_windows import (
    avg_pool,
    max_pool,
    patches,
    separately,
    split,
    total,
)
from nas_jax.spaces import CellSpec, SearchSpace, SpaceMask

Params = Mapping[str, Any]
Initialisation = Literal["default", "kaiming_normal_fan_out"]

POOLS: dict[str, Callable[[jax.Array, tuple[int, int], int, int], jax.Array]] = {
    "avg_pool_3x3": avg_pool,
    "max_pool_3x3": max_pool,
}
STEM_SIZE = 3
"""Height and width of the stem's kernel."""


def edges_by_source(cell: CellSpec) -> tuple[int, ...]:
    """Edge indices by source, then target: the order in which parameters stack them."""
    return tuple(sorted(range(len(cell.edges)), key=lambda e: cell.edges[e]))


@dataclasses.dataclass(frozen=True)
class ThinDarts:
    """A normal cell of C channels and a reduction cell of 2 C, uniform in shape.

    Attributes:
        space: A DARTS-like space: a normal and a reduction cell with two inputs.
        num_classes: Number of logits.
        channels: C; TE-NAS has 1.
        stem: Whether a 3x3 convolution precedes the cells. Without, the cells read the
            images, as TE-NAS has it where it counts linear regions.

    Raises:
        ConfigError: If the space has other cells or operations than that.
    """

    space: SearchSpace
    num_classes: int
    channels: int = 1
    stem: bool = True

    def __post_init__(self) -> None:
        cells = self.space.cells
        if len(cells) != 2 or any(c.num_inputs != 2 for c in cells):
            raise ConfigError(
                f"a thin network is for a space of a normal and a reduction cell with "
                f"two inputs, and {self.space.name!r} has other cells; score it with "
                "the supernet"
            )
        unknown = sorted({op for c in cells for op in c.ops} - set(NETWORK_OPS))
        if unknown:
            raise ConfigError(
                f"a thin network cannot compute {unknown}; allowed: "
                f"{', '.join(NETWORK_OPS)}"
            )

    def abstract(self, image_channels: int) -> dict[str, Any]:
        """Shapes of the parameters of a network for images of so many channels.

        Those of the edges of a cell are stacked in the order of `edges_by_source`; the
        skip connections of a reduction cell's inputs are convolutions, and the first.
        """
        width = image_channels
        params: dict[str, Any] = {}
        if self.stem:
            width = self.channels
            params["stem"] = with_norm(
                (width,), kernel=(STEM_SIZE, STEM_SIZE, image_channels, width)
            )
        before = width
        for cell, channels in zip(self.space.cells, self._widths, strict=True):
            params[cell.name] = {
                "preprocess_0": with_norm((channels,), kernel=(before, channels)),
                "preprocess_1": with_norm((channels,), kernel=(width, channels)),
                **operation_shapes(cell, channels, self._halves(cell)),
            }
            before, width = width, channels * len(cell.output)
        params["last"] = with_norm((width,))
        params["classifier"] = {
            "kernel": array(width, self.num_classes),
            "bias": array(self.num_classes),
        }
        return params

    def init(
        self,
        key: jax.Array,
        image_channels: int,
        initialisation: Initialisation = "default",
    ) -> dict[str, Any]:
        """Initial parameters, float32; see `abstract`. Biases are 0.

        Args:
            key: A typed PRNG key.
            image_channels: Channels of the images.
            initialisation: PyTorch's default, which TE-NAS runs with, or He's normal
                distribution by fan out (arXiv 1502.01852, section 2.2), as in ETE-NAS.
        """
        shapes = self.abstract(image_channels)
        if initialisation == "default":
            return init_variables(key, shapes)
        paths, tree = jax.tree_util.tree_flatten_with_path(shapes)
        keys = jax.random.split(key, len(paths))
        values = [
            kaiming_fan_out(keys[i], path[-1].key, shape)
            for i, (path, shape) in enumerate(paths)
        ]
        params: dict[str, Any] = jax.tree_util.tree_unflatten(tree, values)
        return params

    def observed(
        self,
        params: Params,
        images: jax.Array,
        weights: Mapping[str, jax.Array],
        norm: Norm,
    ) -> Observed:
        """What the network tells of images `[B, H, W, channels]`.

        Args:
            params: See `abstract`; their dtype is that of the computation.
            images: The batch.
            weights: Weights of the operations by cell name, `[edges, operations]`,
                zero for what is not alive.
            norm: What batch normalisation does.

        Raises:
            MaskError: The weights are none of the space's, see `check_weights`.
        """
        check_weights(weights, SpaceMask.full(self.space).arrays())
        forward = _Forward(len(images), norm)
        x = jnp.transpose(images, (3, 1, 2, 0))
        x = x.reshape(*x.shape[:2], -1)
        if self.stem:
            x = forward.stem(x, params["stem"])
        before, last = x, x
        for cell in self.space.cells:
            output = forward.cell(
                cell,
                self._halves(cell),
                params[cell.name],
                (before, last),
                jnp.asarray(weights[cell.name], x.dtype),
            )
            before, last = last, output
        return forward.classify(last, params["last"], params["classifier"])

    @property
    def _widths(self) -> tuple[int, int]:
        return self.channels, 2 * self.channels

    def _halves(self, cell: CellSpec) -> bool:
        return cell == self.space.cells[1]


class _Forward:
    """One forward pass: what it needs to know everywhere, and what it has seen."""

    def __init__(self, batch: int, norm: Norm) -> None:
        self._batch = batch
        self._norm = norm
        self._relu_inputs: list[tuple[jax.Array, jax.Array]] = []
        self._variances: list[tuple[jax.Array, jax.Array]] = []

    def stem(self, x: jax.Array, params: Params) -> jax.Array:
        """3x3 convolution and normalisation, `[C, H, W * B] -> [D, H, W * B]`."""
        kernel = params["kernel"]
        (seen,) = patches(x[None], STEM_SIZE, self._batch, 1, 1)
        seen = seen.reshape(1, -1, *x.shape[1:])
        flat = {**params, "kernel": kernel.reshape(-1, kernel.shape[-1])}
        return self._pointwise(seen, flat)

    def cell(
        self,
        cell: CellSpec,
        halves: bool,
        params: Params,
        inputs: tuple[jax.Array, jax.Array],
        weights: jax.Array,
    ) -> jax.Array:
        """Output `[D, H', W' * B]` of a cell from those of the two before it."""
        sources = [source for source, _ in cell.edges]
        counts = [sources.count(s) for s in range(max(sources) + 1)]
        fans = _split({op: params[op] for op in cell.ops if op in params}, counts)
        states = {
            i: self._preprocess(x, params[f"preprocess_{i}"])
            for i, x in enumerate(inputs)
        }
        order = edges_by_source(cell)
        for source, count in enumerate(counts):
            edges, order = order[:count], order[count:]
            stride = 2 if halves and source < cell.num_inputs else 1
            by_op = dict(zip(cell.ops, weights[np.array(edges)].T, strict=True))
            given = self._leave(states[source], fans[source], by_op, stride)
            for edge, y in zip(edges, given, strict=True):
                target = cell.edges[edge][1]
                states[target] = states[target] + y if target in states else y
        return separately(
            lambda *nodes: jnp.concatenate(nodes), *[states[n] for n in cell.output]
        )

    def classify(self, x: jax.Array, norm: Params, dense: Params) -> Observed:
        """Normalisation, ReLU, mean over the image and a linear layer."""
        mean = jnp.mean(x, (1, 2))
        variance = jnp.mean(jnp.square(x - mean[:, None, None]), (1, 2))
        scale, shift = self._affine(norm, 1.0)
        if self._norm != "identity":
            used = variance if self._norm == "batch" else jnp.ones_like(variance)
            scale = scale * lax.rsqrt(used + BATCH_NORM_EPSILON)
        if self._norm == "batch":
            shift = shift - mean * scale
        x = x * scale[:, None, None] + shift[:, None, None]
        self._variances.append((variance[None], jnp.ones(1)))
        self._note(x[None], jnp.ones(1))
        pixels = relu(x).reshape(x.shape[0], x.shape[1], -1, self._batch)
        feature_map = jnp.transpose(pixels, (3, 1, 2, 0))
        features = jnp.mean(pixels, (1, 2)).T
        return Observed(
            features @ dense["kernel"] + dense["bias"],
            features,
            feature_map,
            self._relu_inputs,
            self._variances,
        )

    def _leave(
        self,
        x: jax.Array,
        params: Params,
        weights: Mapping[str, jax.Array],
        stride: int,
    ) -> list[jax.Array]:
        """What a state `[C, H, W * B]` adds to each of the N nodes that read it."""
        size = (x.shape[-2], x.shape[-1] // self._batch)
        whole = x = x[None]
        if stride > 1:
            x = split(x, size, self._batch, stride)
        active = relu(x)
        shared, sums, readers = [], [], jnp.zeros(())
        for op, weight in weights.items():
            live = (weight > 0).astype(float)
            if op in POOL_OPS:
                shared.append((weight, POOLS[op](x, size, self._batch, stride)[0]))
            elif op == SKIP and stride == 1:
                shared.append((weight, x[0]))
            elif op == SKIP:
                sums.append(self._halve(active, params[op], weight))
                readers += jnp.sum(live)
            elif op in CONV_OPS:
                conv = CONV_OPS[op]
                sums.append(self._convolve(conv, active, params[op], weight, stride))
                readers += jnp.sum(live)
        self._note(whole, readers[None])
        if shared:
            matrix = jnp.stack([weight for weight, _ in shared], 1)
            sums.append(mix_operations(matrix, [y for _, y in shared]))
        return unstack(total(sums))

    def _convolve(
        self,
        conv: ConvOp,
        x: jax.Array,
        params: Params,
        weight: jax.Array,
        stride: int,
    ) -> jax.Array:
        """Separable convolutions of N edges, weighted, `[N, C, H', W' * B]`."""
        live = (weight > 0).astype(float)
        for stage in conv.stages:
            last, here = stage == conv.stages[-1], params[f"stage_{stage}"]
            factor = weight[:, None] if last else jnp.ones_like(weight)[:, None]
            x, variance = conv_norm(
                x,
                here["depthwise"],
                here["pointwise"],
                *self._affine(here, factor),
                batch=self._batch,
                stride=stride if stage == conv.stages[0] else 1,
                dilation=conv.dilation,
                norm=self._norm,
            )
            self._variances.append((variance, live))
            if not last:
                self._note(x, live)
                x = relu(x)
        return x

    def _halve(self, x: jax.Array, params: Params, weight: jax.Array) -> jax.Array:
        """Factorised reduction of N edges, weighted, from phases of what they read.

        Two 1x1 convolutions of stride 2, the second one pixel further down and right,
        are one of both their inputs, with blocks of zeros.
        """
        both = jnp.concatenate([x[:, :, 0], x[:, :, -1]], axis=1)
        even_kernel, odd_kernel = params["pointwise_even"], params["pointwise_odd"]
        widths = even_kernel.shape[-1], odd_kernel.shape[-1]
        upper = jnp.pad(even_kernel, ((0, 0), (0, 0), (0, widths[1])))
        lower = jnp.pad(odd_kernel, ((0, 0), (0, 0), (widths[0], 0)))
        y, variance = conv_norm(
            both,
            None,
            jnp.concatenate([upper, lower], axis=1),
            *self._affine(params, weight[:, None]),
            batch=self._batch,
            norm=self._norm,
        )
        self._variances.append((variance, (weight > 0).astype(float)))
        return y

    def _affine(
        self, params: Params, factor: jax.Array | float
    ) -> tuple[jax.Array, jax.Array]:
        """Scale and shift of a normalisation, times the weights behind it."""
        scale, shift = params["scale"], params["shift"]
        if self._norm == "identity":
            scale, shift = jnp.ones_like(scale), jnp.zeros_like(shift)
        return scale * factor, shift * factor

    def _preprocess(self, x: jax.Array, params: Params) -> jax.Array:
        """ReLU, 1x1 convolution and normalisation."""
        self._note(x[None], jnp.ones(1))
        return self._pointwise(relu(x)[None], params)

    def _pointwise(self, x: jax.Array, params: Params) -> jax.Array:
        """1x1 convolution and normalisation, `[1, C, ...] -> [D, ...]`."""
        y, variance = conv_norm(
            x,
            None,
            params["kernel"][None],
            *self._affine(jax.tree.map(lambda p: p[None], dict(params)), 1.0),
            batch=self._batch,
            norm=self._norm,
        )
        self._variances.append((variance, jnp.ones(1)))
        return y[0]

    def _note(self, x: jax.Array, count: jax.Array) -> None:
        """Notes what N ReLUs receive, `[N, C, H, W * B]`, and how many receive it."""
        images = x.reshape(*x.shape[:-1], -1, self._batch)
        self._relu_inputs.append((jnp.moveaxis(images, -1, 1), count))


def _split(params: Params, counts: list[int]) -> list[Any]:
    """Parameters of the edges that leave each state, from those of all edges."""
    leaves, tree = jax.tree.flatten(params)
    parts: list[list[jax.Array]] = [[] for _ in counts]
    for leaf in leaves:
        # A parameter of the inputs' edges alone has none of the later ones.
        sizes = np.diff(np.minimum(np.cumsum([0, *counts]), len(leaf))).tolist()
        for part, rows in zip(parts, lax.split(leaf, sizes), strict=True):
            part.append(rows)
    return [jax.tree.unflatten(tree, part) for part in parts]
