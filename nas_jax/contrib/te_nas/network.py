"""The thin network of TE-NAS and ETE-NAS: two cells of one channel, quick to score.

It is the supernet that TE-NAS (Chen, Gong and Wang 2021, arXiv 2102.11535; VITA-Group/
TENAS, lib/models/cell_searchs/search_model_darts_nasnet.py) prunes in, and no small
DARTS supernet: the normalisations of its operations have parameters, its pools have no
normalisation, and one more normalisation with a ReLU precedes the mean over the image.

Shapes: E edges of a cell, N edges that leave a state, C and D channels, H and W image,
B batch. Inside, images are `[N, C, H, W * B]` (see `layers`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.contrib.te_nas.layers import (
    Window,
    avg_pool,
    conv_norm,
    max_pool,
    mix_operations,
    patches,
    relu,
    separately,
    split,
    total,
    unstack,
)
from nas_jax.errors import ConfigError
from nas_jax.networks import (
    Scorable,
    Spec,
    init_variables,
    mixture_weights,
    zero_alphas,
)
from nas_jax.networks.family import count_alive
from nas_jax.networks.layers import BATCH_NORM_EPSILON, Norm
from nas_jax.networks.parameters import Specs, norm_specs, stacked
from nas_jax.proxies import Observed
from nas_jax.spaces import CellSpec, SearchSpace, SpaceMask

Params = Mapping[str, Any]
Initialisation = Literal["default", "kaiming_normal_fan_out"]

POOLS = {"avg_pool_3x3": avg_pool, "max_pool_3x3": max_pool}


class Separable(NamedTuple):
    """Depthwise and 1x1 convolutions, one pair for each stage."""

    kernel: int
    dilation: int
    stages: tuple[int, ...]


CONV_OPS = {
    "sep_conv_3x3": Separable(3, 1, (0, 1)),
    "sep_conv_5x5": Separable(5, 1, (0, 1)),
    "dil_conv_3x3": Separable(3, 2, (1,)),
    "dil_conv_5x5": Separable(5, 2, (1,)),
}
"""The convolutions, whose kernels are stacked by edge as nowhere else."""
SKIP = "skip_connect"
OPERATIONS = ("none", SKIP, *POOLS, *CONV_OPS)
"""What a thin network computes."""
STEM_SIZE = 3
"""Height and width of the stem's kernel."""


def edges_by_source(cell: CellSpec) -> tuple[int, ...]:
    """Edge indices by source, then target: the order in which parameters stack them."""
    return tuple(sorted(range(len(cell.edges)), key=lambda e: cell.edges[e]))


@dataclasses.dataclass(frozen=True)
class ThinDarts(Scorable):
    """A normal cell of C channels and a reduction cell of 2 C: a `Scorable`.

    The codes are 0/1 arrays `[edges, operations]` by cell name; all live operations of
    an edge weigh the same.

    Attributes:
        space: A DARTS-like space: a normal and a reduction cell with two inputs.
        num_classes: Number of logits.
        channels: C; TE-NAS has 1.
        stem: Whether a 3x3 convolution precedes the cells. Without, the cells read the
            images, as TE-NAS has it where it counts linear regions: of one channel.
        initialisation: PyTorch's default, which TE-NAS runs with, or He's normal
            distribution by fan out (arXiv 1502.01852, section 2.2), as in ETE-NAS.

    Raises:
        ConfigError: If the space has other cells or operations than that.
    """

    space: SearchSpace
    num_classes: int
    channels: int = 1
    stem: bool = True
    initialisation: Initialisation = "default"

    def __post_init__(self) -> None:
        cells = self.space.cells
        if len(cells) != 2 or any(c.num_inputs != 2 for c in cells):
            raise ConfigError(
                f"a thin network is for a space of a normal and a reduction cell with "
                f"two inputs, and {self.space.name!r} has other cells; score it with "
                "the supernet"
            )
        unknown = sorted({op for c in cells for op in c.ops} - set(OPERATIONS))
        if unknown:
            raise ConfigError(
                f"a thin network cannot compute {unknown}; allowed: "
                f"{', '.join(OPERATIONS)}"
            )

    def halves(self, cell: CellSpec) -> bool:
        """Whether a cell is the reduction cell."""
        return cell == self.space.cells[1]

    def abstract(self, image_channels: int) -> Specs:
        """The parameters of a network for images of so many channels.

        Those of the edges of a cell are stacked in the order of `edges_by_source`; the
        skip connections of a reduction cell's inputs are convolutions, and the first.
        """
        width = image_channels
        params: Specs = {}
        if self.stem:
            width = self.channels
            kernel = (STEM_SIZE, STEM_SIZE, image_channels, width)
            params["stem"] = _with_norm(width, kernel=kernel)
        before = width
        for cell in self.space.cells:
            channels = self.channels * (2 if self.halves(cell) else 1)
            params[cell.name] = {
                "preprocess_0": _with_norm(channels, kernel=(before, channels)),
                "preprocess_1": _with_norm(channels, kernel=(width, channels)),
                **_operation_specs(cell, channels, self.halves(cell)),
            }
            before, width = width, channels * len(cell.output)
        params["last"] = norm_specs(width)
        params["classifier"] = {
            "kernel": Spec((width, self.num_classes), width),
            "bias": Spec((self.num_classes,)),
        }
        return params

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> dict[str, Any]:
        """Initial parameters for images of a shape, float32. Biases are 0."""
        specs = self.abstract(image_shape[-1] if self.stem else 1)
        if self.initialisation == "default":
            return init_variables(key, specs)
        paths, tree = jax.tree_util.tree_flatten_with_path(specs)
        values = [
            _kaiming_fan_out(own, path[-1].key, spec)
            for own, (path, spec) in zip(
                jax.random.split(key, len(paths)), paths, strict=True
            )
        ]
        params: dict[str, Any] = jax.tree_util.tree_unflatten(tree, values)
        return params

    def observe(
        self,
        params: Params,
        codes: Any,
        images: jax.Array,
        norm: Norm,
        gates: Any = None,
    ) -> Observed:
        """What the network tells of images `[B, H, W, channels]`, but its channels.

        Args:
            params: See `abstract`; their dtype is that of the computation.
            codes: What is alive; may be traced.
            images: The batch.
            norm: What batch normalisation does.
            gates: None.
        """
        assert gates is None
        weights = mixture_weights(zero_alphas(self.space), codes)
        forward = _Forward(len(images), norm)
        x = jnp.transpose(images, (3, 1, 2, 0))
        x = x.reshape(*x.shape[:2], -1)
        if self.stem:
            x = forward.stem(x, params["stem"])
        before, last = x, x
        for cell in self.space.cells:
            mixed = jnp.asarray(weights[cell.name], x.dtype)
            output = forward.cell(
                cell, self.halves(cell), params[cell.name], (before, last), mixed
            )
            before, last = last, output
        return forward.classify(last, params["last"], params["classifier"])

    def live(self, params: Params, codes: Any) -> Any:
        """1 for each layer of an operation that is alive, else 0.

        The tree of `params`; an array for each stack of edges, `[]` for the others.
        """
        cells = {cell.name: cell for cell in self.space.cells}

        def entry(path: tuple[Any, ...], leaf: Any) -> jax.Array:
            cell = cells.get(path[0].key)
            if cell is None or path[1].key not in cell.ops:
                return jnp.ones(())
            order = np.array(edges_by_source(cell))[: leaf.shape[0]]
            column = cell.ops.index(path[1].key)
            return (jnp.asarray(codes[cell.name])[order, column] > 0).astype(float)

        return jax.tree_util.tree_map_with_path(entry, dict(params))

    def operations(self, codes: Any) -> dict[str, jax.Array]:
        """On how many edges of the space's cells each operation is alive."""
        return count_alive(self.space, codes)


@dataclasses.dataclass(frozen=True)
class ThinNetwork:
    """Builds TE-NAS' thin network of a DARTS space for a `Ranker`; see `ThinDarts`."""

    channels: int = 1
    stem: bool = True
    initialisation: Initialisation = "default"

    def __call__(self, mask: SpaceMask, num_classes: int) -> ThinDarts:
        """The thin network of a mask's space; operations not in the mask are dead."""
        return ThinDarts(mask.space, num_classes, **dataclasses.asdict(self))


class _Forward:
    """One forward pass: what it needs to know everywhere, and what it has seen."""

    def __init__(self, batch: int, norm: Norm) -> None:
        self._batch, self._norm = batch, norm
        self._relu_inputs: list[tuple[jax.Array, jax.Array]] = []
        self._variances: list[tuple[jax.Array, jax.Array]] = []

    def stem(self, x: jax.Array, params: Params) -> jax.Array:
        """3x3 convolution and normalisation, `[C, H, W * B] -> [D, H, W * B]`."""
        kernel = params["kernel"]
        (seen,) = patches(x[None], Window(STEM_SIZE, self._batch))
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
        fans = _by_source({op: params[op] for op in cell.ops if op in params}, counts)
        states = {}
        for i, x in enumerate(inputs):
            self._note(x[None], jnp.ones(1))
            states[i] = self._pointwise(relu(x)[None], params[f"preprocess_{i}"])
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
        scale, shift = self._affine(norm)
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
        logits = features @ dense["kernel"] + dense["bias"]
        return Observed(
            logits, features, feature_map, self._relu_inputs, self._variances
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
            if op in POOLS:
                window = Window(3, self._batch, stride)
                shared.append((weight, POOLS[op](x, size, window)[0]))
            elif op == SKIP and stride == 1:
                shared.append((weight, x[0]))
            elif op != "none":
                if op == SKIP:
                    sums.append(self._halve(active, params[op], weight))
                else:
                    y = self._convolve(op, active, params[op], weight, stride)
                    sums.append(y)
                readers += jnp.sum((weight > 0).astype(float))
        self._note(whole, readers[None])
        if shared:
            matrix = jnp.stack([weight for weight, _ in shared], 1)
            sums.append(mix_operations(matrix, [y for _, y in shared]))
        return unstack(total(sums))

    def _convolve(
        self, op: str, x: jax.Array, params: Params, weight: jax.Array, stride: int
    ) -> jax.Array:
        """Separable convolutions of N edges, weighted, `[N, C, H', W' * B]`."""
        conv = CONV_OPS[op]
        for stage in conv.stages:
            window = Window(conv.kernel, self._batch, stride, conv.dilation)
            last = stage == conv.stages[-1]
            factor = weight if last else None
            x = self._conv_norm(x, params[f"stage_{stage}"], weight, window, factor)
            if not last:
                self._note(x, (weight > 0).astype(float))
                x, stride = relu(x), 1
        return x

    def _halve(self, x: jax.Array, params: Params, weight: jax.Array) -> jax.Array:
        """Factorised reduction of N edges, weighted, from phases of what they read.

        Two 1x1 convolutions of stride 2, the second one pixel further down and right,
        are one of both their inputs, with blocks of zeros.
        """
        both = jnp.concatenate([x[:, :, 0], x[:, :, -1]], axis=1)
        even, odd = params["pointwise_even"], params["pointwise_odd"]
        upper = jnp.pad(even, ((0, 0), (0, 0), (0, odd.shape[-1])))
        lower = jnp.pad(odd, ((0, 0), (0, 0), (even.shape[-1], 0)))
        whole = {**params, "pointwise": jnp.concatenate([upper, lower], axis=1)}
        window = Window(1, self._batch)
        return self._conv_norm(both, whole, weight, window, weight)

    def _pointwise(self, x: jax.Array, params: Params) -> jax.Array:
        """1x1 convolution and normalisation, `[1, C, ...] -> [D, ...]`."""
        own = jax.tree.map(lambda p: p[None], dict(params))
        own["pointwise"] = own.pop("kernel")
        return self._conv_norm(x, own, jnp.ones(1), Window(1, self._batch))[0]

    def _conv_norm(
        self,
        x: jax.Array,
        params: Params,
        weight: jax.Array,
        window: Window,
        factor: jax.Array | None = None,
    ) -> jax.Array:
        """`conv_norm`, times a factor for each edge; notes variances of those alive."""
        scale, shift = self._affine(params)
        if factor is not None:
            scale, shift = scale * factor[:, None], shift * factor[:, None]
        kernels = params.get("depthwise"), params["pointwise"]
        y, variance = conv_norm(window, self._norm, x, *kernels, scale, shift)
        self._variances.append((variance, (weight > 0).astype(float)))
        return y

    def _affine(self, params: Params) -> tuple[jax.Array, jax.Array]:
        """Scale and shift of a normalisation."""
        scale, shift = params["scale"], params["shift"]
        if self._norm == "identity":
            return jnp.ones_like(scale), jnp.zeros_like(shift)
        return scale, shift

    def _note(self, x: jax.Array, count: jax.Array) -> None:
        """Notes what N ReLUs receive, `[N, C, H, W * B]`, and how many receive it."""
        images = x.reshape(*x.shape[:-1], -1, self._batch)
        self._relu_inputs.append((jnp.moveaxis(images, -1, 1), count))


def _by_source(params: Params, counts: list[int]) -> list[Any]:
    """Parameters of the edges that leave each state, from those of all edges."""
    leaves, tree = jax.tree.flatten(params)
    parts: list[list[jax.Array]] = [[] for _ in counts]
    for leaf in leaves:
        # A parameter of the inputs' edges alone has none of the later ones.
        sizes = np.diff(np.minimum(np.cumsum([0, *counts]), len(leaf))).tolist()
        for part, rows in zip(parts, lax.split(leaf, sizes), strict=True):
            part.append(rows)
    return [jax.tree.unflatten(tree, part) for part in parts]


def _with_norm(channels: int, **kernels: tuple[int, ...]) -> Specs:
    """Kernels `[..., inputs, outputs]`, or `[k, k, C]`, and a normalisation behind."""
    specs = {n: Spec(shape, math.prod(shape[:-1])) for n, shape in kernels.items()}
    return {**specs, **norm_specs(channels)}


def _operation_specs(cell: CellSpec, channels: int, halves: bool) -> Specs:
    """The parameters of a cell's operations, by their names, stacked by edge."""
    specs: Specs = {}
    for op in cell.ops:
        if op in CONV_OPS:
            k = CONV_OPS[op].kernel
            kernels = {"depthwise": (k, k, channels), "pointwise": (channels,) * 2}
            stage = stacked(_with_norm(channels, **kernels), len(cell.edges))
            specs[op] = {f"stage_{i}": stage for i in CONV_OPS[op].stages}
        elif op == SKIP and halves:
            half = channels // 2
            kernels = {
                "pointwise_even": (channels, half),
                "pointwise_odd": (channels, channels - half),
            }
            halved = sum(source < cell.num_inputs for source, _ in cell.edges)
            specs[op] = stacked(_with_norm(channels, **kernels), halved)
    return specs


def _kaiming_fan_out(key: jax.Array, name: str, spec: Spec) -> jax.Array:
    """N(0, 2 / fan out) for a weight; the constants of normalisations and biases.

    PyTorch's fan out is the first axis of its weight times the pixels of the kernel:
    for a depthwise convolution, too, all its channels.
    """
    shape = spec.shape
    if not spec.fan_in:
        return jnp.full(shape, spec.fill, spec.dtype)
    fan_out = shape[-1]
    if name == "depthwise":
        fan_out *= shape[-3] * shape[-2]
    elif len(shape) == 4:  # the stem's
        fan_out *= shape[0] * shape[1]
    return jax.random.normal(key, shape, spec.dtype) * (2 / fan_out) ** 0.5
