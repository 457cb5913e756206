"""NAS-Bench-201's networks in PyTorch, and three proxies as NASLib computes them.

One architecture after another: build its network, score it, throw it away. Gradients of
masks are written as weight times gradient, which is the same number without the copies
of the original, and synflow stays in float32, where NASLib takes float64: both favour
PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_jax.spaces.nasbench201 import nasbench201_space

EDGES = nasbench201_space().cells[0].edges


class ConvNorm(nn.Sequential):
    """ReLU, convolution, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        """Padding keeps the image's size where the stride is 1."""
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Zero(nn.Module):
    """The operation `none`."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of x's shape."""
        return x.mul(0.0)


def operation(name: str, channels: int) -> nn.Module:
    """The module of an edge."""
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return ConvNorm(channels, channels, 1 if name == "nor_conv_1x1" else 3)


class Cell(nn.Module):
    """Four nodes and six edges."""

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        """One module for each edge."""
        super().__init__()
        self.edges = nn.ModuleList(operation(name, channels) for name in operations)

    def forward(self, x: Tensor) -> Tensor:
        """The last node."""
        nodes = [x]
        for node in range(1, 4):
            terms = [
                edge(nodes[source])
                for edge, (source, target) in zip(self.edges, EDGES, strict=True)
                if target == node
            ]
            nodes.append(sum(terms[1:], terms[0]))
        return nodes[-1]


class Reduce(nn.Module):
    """ResNet's basic block of stride 2."""

    def __init__(self, channels: int) -> None:
        """Twice as many channels out."""
        super().__init__()
        self.first = ConvNorm(channels, 2 * channels, 3, 2)
        self.second = ConvNorm(2 * channels, 2 * channels, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Half the image, twice the channels."""
        return self.shortcut(x) + self.second(self.first(x))


class Network(nn.Module):
    """An architecture's network."""

    def __init__(
        self, operations: Sequence[str], channels: int, cells: int, classes: int
    ) -> None:
        """Three stages of cells; PyTorch's initial weights."""
        super().__init__()
        parts: list[nn.Module] = [
            nn.Conv2d(3, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                parts.append(Reduce(width // 2))
            parts += [Cell(operations, width) for _ in range(cells)]
        parts += [nn.BatchNorm2d(4 * channels), nn.ReLU()]
        self.body = nn.Sequential(*parts)
        self.classifier = nn.Linear(4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` of images `[B, 3, H, W]`."""
        return self.classifier(self.body(x).mean((2, 3)))


def _weights(network: Network) -> list[Tensor]:
    layers = (nn.Conv2d, nn.Linear)
    return [m.weight for m in network.modules() if isinstance(m, layers)]


def snip(network: Network, images: Tensor, labels: Tensor) -> float:
    """Sum of |weight * gradient of the loss|."""
    weights = _weights(network)
    gradients = torch.autograd.grad(
        F.cross_entropy(network(images), labels), weights, allow_unused=True
    )
    pairs = zip(weights, gradients, strict=True)
    return float(sum((w * g).abs().sum() for w, g in pairs if g is not None))


def synflow(network: Network, images: Tensor, labels: Tensor) -> float:
    """Sum of |weight * gradient| of the linear network of absolute weights."""
    del labels
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    weights = _weights(network)
    ones = torch.ones((1, *images.shape[1:]))
    gradients = torch.autograd.grad(network(ones).sum(), weights, allow_unused=True)
    pairs = zip(weights, gradients, strict=True)
    return float(sum((w * g).abs().sum() for w, g in pairs if g is not None))


def nwot(network: Network, images: Tensor, labels: Tensor) -> float:
    """log |det| of the kernel of the ReLUs' activation patterns."""
    del labels
    kernel = torch.zeros((len(images), len(images)), dtype=torch.float64)

    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        del module, output
        active = (inputs[0].reshape(len(images), -1) > 0).float()
        kernel.add_(active @ active.T + (1 - active) @ (1 - active).T)

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(add)
    with torch.no_grad():
        network(images)
    return float(torch.linalg.slogdet(kernel)[1])


PROXIES = {"nwot": nwot, "snip": snip, "synflow": synflow}
