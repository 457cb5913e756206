"""DARTS' first-order search step in PyTorch, and the memory of its backward passes."""

from __future__ import annotations

import dataclasses
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.problem import NUM_CLASSES, Problem
from benchmarks.torch_darts import Supernet
from nas_jax.spaces import SpaceMask

Batch = tuple[Tensor, Tensor]
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
"""PyTorch's default, which the original uses, and the one that is faster on a CPU."""


class FirstOrderStep:
    """Alphas on the validation batch by Adam, then weights on the other batch by SGD.

    The constants are those of DARTS' `cnn/train_search.py`. As there, the alphas'
    backward pass also computes the weights' gradients, which nobody reads.
    """

    def __init__(self, network: Supernet, mask: SpaceMask) -> None:
        """Alphas start at 1e-3 times a standard normal, in the weights' dtype."""
        self.network = network
        dtype = network.classifier.weight.dtype
        self.alphas = {
            cell.name: (
                1e-3 * torch.randn(len(cell.edges), len(cell.ops), dtype=dtype)
            ).requires_grad_()
            for cell in mask.space.cells
        }
        self._pruned = {k: torch.from_numpy(~v) for k, v in mask.arrays().items()}
        self._alpha_optimiser = torch.optim.Adam(
            self.alphas.values(), lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3
        )
        self._weight_optimiser = torch.optim.SGD(
            network.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4
        )

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy, and logits `[B, classes]`."""
        images, labels = batch
        weights = {
            name: F.softmax(alpha.masked_fill(self._pruned[name], -torch.inf), dim=-1)
            for name, alpha in self.alphas.items()
        }
        logits = self.network(images, weights)
        return F.cross_entropy(logits, labels), logits

    def __call__(self, train_batch: Batch, valid_batch: Batch) -> tuple[float, float]:
        """One step on images `[B, C, H, W]` and labels `[B]`.

        Returns:
            Loss on the training and on the validation batch, before their updates.
        """
        self._alpha_optimiser.zero_grad()
        valid_loss, _ = self.loss(valid_batch)
        valid_loss.backward()
        self._alpha_optimiser.step()
        self._weight_optimiser.zero_grad()
        train_loss, _ = self.loss(train_batch)
        train_loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._weight_optimiser.step()
        return train_loss.item(), valid_loss.item()


def saved_bytes(run: Callable[[], Any], parameters: Iterable[Tensor]) -> int:
    """The most bytes that PyTorch keeps for backward passes at one time.

    What lies in one storage counts once, whoever saved it; parameters do not count,
    for they are there anyway.

    Args:
        run: Does forward and backward passes, such as one search step.
        parameters: What not to count.
    """
    known = {p.untyped_storage().data_ptr() for p in parameters}
    holders: dict[int, int] = {}
    now = peak = 0

    def release(address: int, size: int) -> None:
        nonlocal now
        holders[address] -= 1
        if not holders[address]:
            del holders[address]
            now -= size

    def pack(tensor: Tensor) -> _Saved:
        nonlocal now, peak
        saved = _Saved(tensor)
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in known:
            if address not in holders:
                holders[address] = 0
                now += size
                peak = max(peak, now)
            holders[address] += 1
            weakref.finalize(saved, release, address, size)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        run()
    return peak


class _Saved:
    """Keeps a saved tensor until the graph that saved it is gone."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@dataclasses.dataclass(frozen=True)
class TorchVariant:
    """How PyTorch computes it.

    Attributes:
        mask: What `Problem.mask` takes.
        layout: Memory layout of images and convolution weights, one of LAYOUTS.
    """

    mask: str
    layout: str


class TorchStep:
    """PyTorch's step on prepared float batches, ready to be timed."""

    def __init__(self, problem: Problem, variant: TorchVariant) -> None:
        """Draw weights and images."""
        torch.manual_seed(problem.seed)
        layout = LAYOUTS[variant.layout]
        kept = problem.mask(variant.mask)
        network = Supernet(kept, problem.channels, problem.cells, NUM_CLASSES)
        network.to(memory_format=layout)  # type: ignore[call-overload]
        self._step = FirstOrderStep(network, kept)
        shape = (problem.batch, 3, problem.image_size, problem.image_size)
        self._batches = [
            (
                torch.randn(shape).to(memory_format=layout),
                torch.randint(NUM_CLASSES, shape[:1]),
            )
            for _ in range(2)
        ]

    def saved_bytes(self) -> int:
        """The most bytes kept for a backward pass in one step, which it runs."""
        parameters = self._step.network.parameters()
        return saved_bytes(lambda: self._step(*self._batches), parameters)

    def __call__(self) -> float:
        """Seconds of one step, until its losses are there."""
        start = time.perf_counter()
        self._step(*self._batches)
        return time.perf_counter() - start
