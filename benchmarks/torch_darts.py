"""The supernet of DARTS in PyTorch: what ours is held against.

A port of our own, laid out as the PyTorch original is (Liu et al. 2019, arXiv
1806.09055): edge by edge, one module for each operation of each edge, and a mixed
operation is the sum of its weighted operations. Images are `[B, C, H, W]`.

Parameters, and their gradients, go in and out by edge:
`nas_jax/networks/darts/edges.py` has the names and the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_jax.spaces import SpaceMask

Path = tuple[str, ...]


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False)


def _pointwise(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels,
        channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        groups=channels,
        bias=False,
    )


class Zero(nn.Module):
    """`none`: zeros, which are computed, as in the original."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / stride, W / stride]`."""
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


class Pool(nn.Module):
    """3x3 pooling, then normalisation."""

    def __init__(self, kind: str, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = (
            nn.MaxPool2d(3, stride=stride, padding=1)
            if kind == "max"
            else nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
        )
        self.norm = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / stride, W / stride]`."""
        return self.norm(self.pool(x))


class SepConv(nn.Module):
    """ReLU, depthwise, 1x1 and normalisation, twice; the first has the stride."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.depthwise_0 = _depthwise(channels, kernel, stride)
        self.pointwise_0 = _pointwise(channels, channels)
        self.norm_0 = _norm(channels)
        self.depthwise_1 = _depthwise(channels, kernel, 1)
        self.pointwise_1 = _pointwise(channels, channels)
        self.norm_1 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / stride, W / stride]`."""
        x = self.norm_0(self.pointwise_0(self.depthwise_0(F.relu(x))))
        return self.norm_1(self.pointwise_1(self.depthwise_1(F.relu(x))))


class DilConv(nn.Module):
    """ReLU, depthwise of dilation 2, 1x1 and normalisation."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        # By edge, the only stage has the name of a SepConv's last one.
        self.depthwise_1 = _depthwise(channels, kernel, stride, dilation=2)
        self.pointwise_1 = _pointwise(channels, channels)
        self.norm_1 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / stride, W / stride]`."""
        return self.norm_1(self.pointwise_1(self.depthwise_1(F.relu(x))))


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, one a pixel further on, normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pointwise_even = _pointwise(inputs, outputs // 2, stride=2)
        self.pointwise_odd = _pointwise(inputs, outputs - outputs // 2, stride=2)
        self.norm = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, outputs, H / 2, W / 2]`."""
        x = F.relu(x)
        halves = [self.pointwise_even(x), self.pointwise_odd(x[:, :, 1:, 1:])]
        return self.norm(torch.cat(halves, dim=1))


class ReluConvNorm(nn.Module):
    """ReLU, 1x1 convolution and normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pointwise = _pointwise(inputs, outputs)
        self.norm = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, outputs, H, W]`."""
        return self.norm(self.pointwise(F.relu(x)))


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda channels, stride: Zero(stride),
    "max_pool_3x3": lambda channels, stride: Pool("max", channels, stride),
    "avg_pool_3x3": lambda channels, stride: Pool("avg", channels, stride),
    "skip_connect": lambda channels, stride: (
        nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
    ),
    "sep_conv_3x3": lambda channels, stride: SepConv(channels, 3, stride),
    "sep_conv_5x5": lambda channels, stride: SepConv(channels, 5, stride),
    "dil_conv_3x3": lambda channels, stride: DilConv(channels, 3, stride),
    "dil_conv_5x5": lambda channels, stride: DilConv(channels, 5, stride),
}
"""Each operation of the DARTS space, from channels and stride."""


class MixedOp(nn.Module):
    """The weighted sum of an edge's kept operations."""

    def __init__(
        self, ops: tuple[str, ...], kept: tuple[str, ...], channels: int, stride: int
    ) -> None:
        super().__init__()
        self.columns = [ops.index(name) for name in kept]
        self.ops = nn.ModuleDict(
            {name: OPERATIONS[name](channels, stride) for name in kept}
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """`[B, C, H, W]` and the edge's weights `[operations]` to the weighted sum."""
        pairs = zip(self.columns, self.ops.values(), strict=True)
        return sum(weights[column] * op(x) for column, op in pairs)


class Cell(nn.Module):
    """Two preprocessed inputs; each node sums its edges; the nodes are the output."""

    def __init__(
        self,
        mask: SpaceMask,
        inputs: tuple[int, int],
        channels: int,
        reduction: bool,
        after_reduction: bool,
    ) -> None:
        super().__init__()
        self.name = "reduce" if reduction else "normal"
        self.spec = mask.space.cell(self.name)
        shrink = FactorizedReduce if after_reduction else ReluConvNorm
        self.preprocess_0 = shrink(inputs[0], channels)
        self.preprocess_1 = ReluConvNorm(inputs[1], channels)
        self.edges = nn.ModuleDict()
        for edge, (source, _) in enumerate(self.spec.edges):
            stride = 2 if reduction and source < self.spec.num_inputs else 1
            kept = mask.edge(self.name, edge)
            mixed = MixedOp(self.spec.ops, kept, channels, stride)
            self.edges[f"edge_{edge}"] = mixed

    def forward(self, first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
        """Outputs of the two cells before and weights `[edges, operations]`."""
        states = [self.preprocess_0(first), self.preprocess_1(second)]
        for node in self.spec.nodes:
            terms = [
                self.edges[f"edge_{e}"](states[self.spec.edges[e][0]], weights[e])
                for e in self.spec.incoming(node)
            ]
            states.append(sum(terms))
        return torch.cat(states[self.spec.num_inputs :], dim=1)


class Stem(nn.Module):
    """3x3 convolution and normalisation with parameters."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W] -> [B, outputs, H, W]`."""
        return self.norm(self.conv(x))


class Supernet(nn.Module):
    """DARTS' search network over what a mask keeps; the rest is not built."""

    def __init__(
        self,
        mask: SpaceMask,
        channels: int,
        cells: int,
        num_classes: int,
        image_channels: int = 3,
    ) -> None:
        """The arguments are those of `nas_jax.networks.Supernet`."""
        super().__init__()
        self.stem = Stem(image_channels, 3 * channels)
        self.cells = nn.ModuleDict()
        self.kinds: list[str] = []
        widths, after = (3 * channels, 3 * channels), False
        for index in range(cells):
            reduction = index in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            cell = Cell(mask, widths, channels, reduction, after)
            self.cells[f"cell_{index}"] = cell
            self.kinds.append(cell.name)
            widths = (widths[1], channels * len(cell.spec.nodes))
            after = reduction
        self.classifier = nn.Linear(widths[1], num_classes)

    def forward(self, images: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Logits `[B, classes]`; weights `[edges, operations]` by cell name."""
        first = second = self.stem(images)
        for kind, cell in zip(self.kinds, self.cells.values(), strict=True):
            first, second = second, cell(first, second, weights[kind])
        return self.classifier(second.mean(dim=(2, 3)))


def load_edges(network: Supernet, edges: Mapping[str, Any]) -> None:
    """Fill the parameters from arrays by edge; others in `edges` are passed over."""
    for path, parameter in _by_edge(network):
        value: Any = edges
        for name in path:
            value = value[name]
        with torch.no_grad():
            view = _edge_view(path, parameter)
            assert view.shape == value.shape, (path, view.shape, value.shape)
            view.copy_(torch.from_numpy(np.array(value)))


def edge_values(network: Supernet) -> dict[Path, np.ndarray]:
    """Parameters by edge."""
    return {
        path: _edge_view(path, parameter.detach()).numpy().copy()
        for path, parameter in _by_edge(network)
    }


def edge_gradients(network: Supernet) -> dict[Path, np.ndarray]:
    """Gradients of the last backward pass by edge."""
    return {
        path: _edge_view(path, parameter.grad).numpy().copy()
        for path, parameter in _by_edge(network)
        if parameter.grad is not None
    }


_STEM_AND_CLASSIFIER = {
    "stem.conv.weight": ("stem", "kernel"),
    "stem.norm.weight": ("stem", "scale"),
    "stem.norm.bias": ("stem", "shift"),
    "classifier.weight": ("classifier", "kernel"),
    "classifier.bias": ("classifier", "bias"),
}


def _by_edge(network: Supernet) -> Iterator[tuple[Path, nn.Parameter]]:
    containers = ("cells", "edges", "ops", "weight")
    for name, parameter in network.named_parameters():
        path = tuple(part for part in name.split(".") if part not in containers)
        yield _STEM_AND_CLASSIFIER.get(name, path), parameter


def _edge_view(path: Path, x: Tensor) -> Tensor:
    """A view of a parameter that has the axes of the array by edge."""
    if path[-1].startswith("depthwise"):
        return x[:, 0].permute(1, 2, 0)
    if path[-1].startswith("pointwise"):
        return x[:, :, 0, 0].T
    if path == ("stem", "kernel"):
        return x.permute(2, 3, 1, 0)
    return x.T if path == ("classifier", "kernel") else x
