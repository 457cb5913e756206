"""A pruning round of TE-NAS in PyTorch: what ours is held against.

A port of our own of the DARTS space's half of TE-NAS (Chen et al. 2021, arXiv
2102.11535; `prune_tenas.py` of its public code): supernets of one channel and two
cells, built operation by operation as there, and the two measures of a candidate. Where
the original spends time on what nothing reads, this does not: gradients of biases and
alphas, hooks that are registered once more in each repeat, and its data loader are left
out, and matrices of patterns are in float32, which a processor multiplies faster than
float16. Images are `[B, C, H, W]`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.torch_darts import Stem
from nas_jax.spaces import NONE, SearchSpace

CHANNELS = 1
"""Of the first cell; the second, a reduction cell, has twice as many."""
LEAST_WEIGHT = 0.01
"""Operations of this weight or less are not computed."""
MASKED, UNMASKED = -1000.0, 0.0
"""Alphas of operations that are gone, and of the others."""
NAN_CONDITION = 1e5
"""The condition number where there is none."""
DIGITS = 3
"""Of a relative change."""
CONVOLUTIONS = ("onednn", "native")
"""What computes a kernel's convolutions: oneDNN, PyTorch's default on a processor, or
PyTorch's own code, which takes half the time where there are one or two channels and 14
images. Of thousands of crops, the forward pass is faster with oneDNN."""

Operation = tuple[str, int, str]
"""Cell name, edge index, operation name."""
Live = Mapping[str, np.ndarray]
"""0/1 `[edges, operations]` by cell name."""
Weights = Mapping[str, Sequence[Sequence[float]]]
"""`[edges, operations]` by cell name."""


def _pointwise(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


class ReluConvNorm(nn.Module):
    """ReLU, 1x1 convolution and normalisation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.pointwise = _pointwise(inputs, outputs)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W] -> [B, outputs, H, W]`."""
        return self.norm(self.pointwise(self.relu(x)))


class SepConv(nn.Module):
    """ReLU, depthwise, 1x1 and normalisation."""

    def __init__(
        self, channels: int, kernel: int, stride: int, dilation: int = 1
    ) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel - 1) // 2,
            dilation=dilation,
            groups=channels,
            bias=False,
        )
        self.pointwise = _pointwise(channels, channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / stride, W / stride]`, rounded up."""
        return self.norm(self.pointwise(self.depthwise(self.relu(x))))


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2, one a pixel further on, normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.pad = nn.ConstantPad2d((0, 1, 0, 1), 0.0)
        self.pointwise_even = _pointwise(channels, channels // 2, stride=2)
        self.pointwise_odd = _pointwise(channels, channels - channels // 2, stride=2)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W] -> [B, C, H / 2, W / 2]`, rounded up."""
        x = self.relu(x)
        odd = self.pointwise_odd(self.pad(x)[:, :, 1:, 1:])
        return self.norm(torch.cat([self.pointwise_even(x), odd], dim=1))


def _dual(channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        SepConv(channels, kernel, stride), SepConv(channels, kernel, 1)
    )


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "max_pool_3x3": lambda channels, stride: nn.MaxPool2d(3, stride, padding=1),
    "avg_pool_3x3": lambda channels, stride: nn.AvgPool2d(
        3, stride, padding=1, count_include_pad=False
    ),
    "skip_connect": lambda channels, stride: (
        nn.Identity() if stride == 1 else FactorizedReduce(channels)
    ),
    "sep_conv_3x3": lambda channels, stride: _dual(channels, 3, stride),
    "sep_conv_5x5": lambda channels, stride: _dual(channels, 5, stride),
    "dil_conv_3x3": lambda channels, stride: SepConv(channels, 3, stride, dilation=2),
    "dil_conv_5x5": lambda channels, stride: SepConv(channels, 5, stride, dilation=2),
}
"""Each operation but `none`, from channels and stride. Pools are not normalised."""


class Cell(nn.Module):
    """Two preprocessed inputs; each node sums its edges; the nodes are the output."""

    def __init__(
        self, space: SearchSpace, name: str, inputs: tuple[int, int], channels: int
    ) -> None:
        super().__init__()
        self.name = name
        self.spec = space.cell(name)
        self.preprocess_0 = ReluConvNorm(inputs[0], channels)
        self.preprocess_1 = ReluConvNorm(inputs[1], channels)
        self.edges = nn.ModuleList()
        for source, _ in self.spec.edges:
            stride = 2 if name == "reduce" and source < self.spec.num_inputs else 1
            ops = {
                op: OPERATIONS[op](channels, stride)
                for op in self.spec.ops
                if op != NONE
            }
            self.edges.append(nn.ModuleDict(ops))

    def forward(
        self, first: Tensor, second: Tensor, weights: Sequence[Sequence[float]]
    ) -> Tensor:
        """Outputs of the two layers before and weights `[edges, operations]`."""
        states = [self.preprocess_0(first), self.preprocess_1(second)]
        for node in self.spec.nodes:
            terms = [
                _total(self._terms(edge, states[self.spec.edges[edge][0]], weights))
                for edge in self.spec.incoming(node)
            ]
            states.append(_total(terms))
        return torch.cat(states[self.spec.num_inputs :], dim=1)

    def _terms(
        self, edge: int, x: Tensor, weights: Sequence[Sequence[float]]
    ) -> list[Tensor]:
        return [
            weight * self.edges[edge][op](x)
            for op, weight in zip(self.spec.ops, weights[edge], strict=True)
            if weight > LEAST_WEIGHT and op != NONE
        ]


def _total(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0])


class ThinDarts(nn.Module):
    """A normal and a reduction cell of all operations, in one channel.

    PyTorch's initial weights: the re-initialisation of the original names a method
    that it does not know, and does nothing.
    """

    def __init__(
        self,
        space: SearchSpace,
        num_classes: int,
        stem: bool = True,
        image_channels: int = 3,
    ) -> None:
        """Without a stem, images have `CHANNELS` channels."""
        super().__init__()
        self.space, self.num_classes = space, num_classes
        self.stem = Stem(image_channels, CHANNELS) if stem else nn.Identity()
        normal = Cell(space, "normal", (CHANNELS, CHANNELS), CHANNELS)
        width = CHANNELS * len(normal.spec.nodes)
        reduce = Cell(space, "reduce", (CHANNELS, width), 2 * CHANNELS)
        self.cells = nn.ModuleList([normal, reduce])
        features = 2 * width
        self.last = nn.Sequential(nn.BatchNorm2d(features), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, images: Tensor, weights: Weights) -> Tensor:
        """Logits `[B, classes]`."""
        first = second = self.stem(images)
        for cell in self.cells:
            first, second = second, cell(first, second, weights[cell.name])
        return self.classifier(self.last(second).mean((2, 3)))


@contextlib.contextmanager
def convolutions(name: str) -> Iterator[None]:
    """Inside, a name of `CONVOLUTIONS` computes them."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = name == "onednn"
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def mixture(live: Live) -> Weights:
    """The softmax of alphas that are `UNMASKED` where live and `MASKED` elsewhere."""
    alphas = {
        cell: torch.from_numpy(np.where(array > 0, UNMASKED, MASKED))
        for cell, array in live.items()
    }
    return {cell: torch.softmax(a, 1).tolist() for cell, a in alphas.items()}


def weight_gradients(network: ThinDarts, weights: Weights, images: Tensor) -> Tensor:
    """Gradient of the sum of an image's logits, a row for each image.

    Of all parameters that are called weight and that the output depends on; in training
    mode, one backward pass after another (lib/procedures/ntk.py).
    """
    network.train()
    parameters = [p for name, p in network.named_parameters() if "weight" in name]
    rows = []
    for logits in network(images, weights):
        gradients = torch.autograd.grad(
            logits.sum(), parameters, retain_graph=True, allow_unused=True
        )
        rows.append(torch.cat([g.reshape(-1) for g in gradients if g is not None]))
    return torch.stack(rows)


def ntk_condition(network: ThinDarts, weights: Weights, images: Tensor) -> float:
    """Largest over smallest eigenvalue of the kernel of the images' gradients."""
    gradients = weight_gradients(network, weights, images)
    eigenvalues = torch.linalg.eigvalsh(gradients @ gradients.T)
    ratio = float(eigenvalues[-1] / eigenvalues[0])
    return NAN_CONDITION if math.isnan(ratio) else ratio


@torch.no_grad()
def linear_regions(
    network: ThinDarts, weights: Weights, crops: Sequence[Tensor]
) -> float:
    """Number of different patterns of the ReLUs, over all batches together.

    In training mode (lib/procedures/linear_region_counter.py).

    Args:
        network: One without a stem.
        weights: The operations'.
        crops: Batches `[B, 1, 3, 3]`.
    """
    network.train()
    seen: list[Tensor] = []
    relus = [m for m in network.modules() if isinstance(m, nn.ReLU)]
    hooks = [
        m.register_forward_hook(lambda module, inputs, output: seen.append(output))
        for m in relus
    ]
    batches = []
    for batch in crops:
        seen.clear()
        network(batch, weights)
        flat = torch.cat([output.reshape(len(batch), -1) for output in seen], dim=1)
        batches.append(torch.sign(flat))
    for hook in hooks:
        hook.remove()
    return count_patterns(torch.cat(batches))


def count_patterns(active: Tensor) -> float:
    """Number of different rows of 0/1 `[N, ReLUs]`.

    Each row adds 1 over the number of rows that equal it.
    """
    differ = active @ (1 - active).T
    alike = 1 - torch.sign(differ + differ.T)
    return float((1.0 / alike.sum(1)).sum())


def operations_of(live: Live, space: SearchSpace) -> Iterator[Operation]:
    """What is live, in canonical order."""
    for cell, edge, op in space.operations():
        if live[cell][edge, space.cell(cell).ops.index(op)]:
            yield cell, edge, op


def without(live: Live, space: SearchSpace, operation: Operation) -> Live:
    """The live arrays of a candidate: all but one operation."""
    name, edge, op = operation
    arrays = {cell: array.copy() for cell, array in live.items()}
    arrays[name][edge, space.cell(name).ops.index(op)] = 0
    return arrays


def score_candidate(
    origin: ThinDarts,
    live: Live,
    operation: Operation,
    images: Sequence[Tensor],
    crops: Sequence[Sequence[Tensor]],
    kernel_convolutions: str = CONVOLUTIONS[0],
) -> tuple[float, float]:
    """What the loop of `prune_tenas.py` does for one operation.

    Networks are built, weights copied, and both networks scored, in each repeat.

    Args:
        origin: The network of a round.
        live: What is left of the space.
        operation: What to leave out.
        images: A batch for each repeat.
        crops: Batches of crops for each repeat.
        kernel_convolutions: One of `CONVOLUTIONS`.

    Returns:
        Relative change of the condition number and of the number of regions.
    """
    whole, pruned = mixture(live), mixture(without(live, origin.space, operation))
    network = _like(origin)
    conditions = []
    for batch in images:
        copy_parameters(origin, network)
        with convolutions(kernel_convolutions):
            before = ntk_condition(origin, whole, batch)
            after = ntk_condition(network, pruned, batch)
        conditions.append(_change(before, after))
    origin_thin, thin = _like(origin, stem=False), _like(origin, stem=False)
    regions = []
    for batches in crops:
        copy_parameters(origin_thin, thin)
        before = linear_regions(origin_thin, whole, batches)
        after = linear_regions(thin, pruned, batches)
        regions.append(_change(before, after))
    return float(np.mean(conditions)), float(np.mean(regions))


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """The parameters of one network into another of the same form."""
    for theirs, mine in zip(source.parameters(), target.parameters(), strict=True):
        mine.copy_(theirs)


def _like(network: ThinDarts, stem: bool = True) -> ThinDarts:
    return ThinDarts(network.space, network.num_classes, stem)


def _change(before: float, after: float) -> float:
    return round((before - after) / before, DIGITS)
