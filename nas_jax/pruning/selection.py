"""Which operations go: the least important, within the limits that a user sets."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.pruning.candidates import Edge, Operation
from nas_jax.spaces import SpaceMask

CLOSE_ENOUGH = 0.97
"""A step that needs this share of its budget or more is not made larger again."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Where pruning ends.

    Attributes:
        level: The paper's xi, the share to remove of the operations that an edge has.
        keep: Operations that an edge keeps, instead of `level`.
        budget_bytes: Prune until `step_bytes` is not above it, instead of either.
        step_bytes: Bytes of the search step of a mask, such as a compiled one's.
        min_parametric: Operations with weights that each node keeps on its incoming
            edges, whatever their scores.
    """

    level: float = 0.5
    keep: int | None = None
    budget_bytes: int | None = None
    step_bytes: Callable[[SpaceMask], int] | None = None
    min_parametric: int = 0

    @property
    def removes(self) -> bool:
        """Whether anything at all is to go."""
        return bool(self.level or self.keep or self.budget_bytes is not None)

    def keeps(self, mask: SpaceMask) -> dict[Edge, int]:
        """Operations that each edge is to keep, of those that the mask has there.

        Raises:
            ConfigError: If the level is not in [0, 1), `keep` is below 1, or a budget
                has nothing to measure a step with.
        """
        if self.keep is not None and self.keep < 1:
            raise ConfigError(f"an edge cannot keep {self.keep} operations; 1 or more")
        if (self.budget_bytes is None) != (self.step_bytes is None):
            raise ConfigError(
                "a budget in bytes needs step_bytes, the function that measures a "
                "step, and the other way round"
            )
        return {
            (cell.name, edge): self._keep_of(len(ops))
            for cell, edges in zip(mask.space.cells, mask.kept, strict=True)
            for edge, ops in enumerate(edges)
        }

    def _keep_of(self, there: int) -> int:
        if self.budget_bytes is not None:
            return 1
        if self.keep is not None:
            return min(self.keep, there)
        return operations_to_keep(there, self.level)


def operations_to_keep(num_operations: int, level: float) -> int:
    """Operations that an edge keeps at a pruning level: floor, at least one.

    Raises:
        ConfigError: If the level is not in [0, 1).
    """
    if not 0.0 <= level < 1.0:
        raise ConfigError(
            f"pruning level {level} must be at least 0 and below 1; 0.5 keeps half of "
            "the operations"
        )
    # 8 * (1 - 0.875) is 1.0000000000000002 in some orders of evaluation.
    return max(1, math.floor(round(num_operations * (1.0 - level), 9)))


def is_parametric(op: str) -> bool:
    """Whether an operation has weights at stride 1: the convolutions."""
    return "conv" in op


def lowest(
    mask: SpaceMask,
    operations: Sequence[Operation],
    total: np.ndarray,
    goal: Mapping[Edge, int],
    min_parametric: int = 0,
) -> list[Operation]:
    """The operations to drop, in the order in which they go.

    On each edge the least important go until it has what it is to keep; of equally
    important ones the later. An operation whose importance is not known stays longest.
    Edges lose their operations in step: the first of every edge, the least important
    first, then the second of every edge.

    Args:
        mask: What is there.
        operations: Those that may go.
        total: Their importance, `[operations]`.
        goal: Operations that edges are to keep.
        min_parametric: Convolutions that the edges into a node keep among them; such a
            one stays and another operation of its edge goes, if there is one.
    """
    score = np.where(np.isnan(total), np.inf, np.asarray(total, np.float64))
    queues: dict[Edge, list[tuple[float, int, Operation]]] = {}
    for value, (cell, edge, op) in zip(score, operations, strict=True):
        column = mask.space.cell(cell).ops.index(op)
        queues.setdefault((cell, edge), []).append((value, -column, (cell, edge, op)))
    convolutions: Counter[tuple[str, int]] = Counter()
    for cell, edge, op in mask.space.operations():
        if mask.keeps(cell, edge, op) and is_parametric(op):
            convolutions[cell, mask.space.cell(cell).edges[edge][1]] += 1
    dropped: list[Operation] = []
    left = {e: len(mask.edge(*e)) for e in queues}
    waiting = [sorted(queue, reverse=True) for queue in queues.values()]
    while True:
        more = [q for q in waiting if q and left[q[-1][2][:2]] > goal[q[-1][2][:2]]]
        if not more:
            return dropped
        for *_, operation in sorted(queue.pop() for queue in more):
            cell, edge, op = operation
            node = (cell, mask.space.cell(cell).edges[edge][1])
            if is_parametric(op):
                if convolutions[node] <= min_parametric:
                    continue
                convolutions[node] -= 1
            left[cell, edge] -= 1
            dropped.append(operation)


def shortest_that_fits(length: int, needs: Callable[[int], int], budget: int) -> int:
    """The fewest operations to drop so that a step fits, with few measurements.

    More drops never need more memory, so a bracket is narrowed at where a straight
    line between its ends meets the budget.

    Args:
        length: Most operations that can go.
        needs: Bytes of the step after so many drops: slow.
        budget: Bytes that the step may need.

    Returns:
        A number within one operation of the fewest, or with which the step needs
        `CLOSE_ENOUGH` of its budget; `length` where nothing fits.
    """
    low, high = 0, length
    most, least = needs(low), needs(high)
    while high - low > 1 and not CLOSE_ENOUGH * budget <= least <= budget < most:
        if least > budget or most <= budget:
            return high if least > budget else low
        share = (most - budget) / (most - least)
        # A guess near an end would narrow the bracket by next to nothing.
        guess = low + round(min(max(share, 0.1), 0.9) * (high - low))
        guess = min(max(guess, low + 1), high - 1)
        found = needs(guess)
        if found > budget:
            low, most = guess, found
        else:
            high, least = guess, found
    return low if most <= budget else high
