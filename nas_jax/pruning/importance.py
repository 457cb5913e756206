"""The importance of an operation, from what its removal does to a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas_jax.spaces import SpaceMask

Operation = tuple[str, int, str]


def relative_importance(whole: np.ndarray, without: np.ndarray) -> np.ndarray:
    """(r(N) - r(N \\ e)) / |r(N)| for each candidate e and score r.

    Rumiantsev and Coates 2025 (arXiv 2505.13586), importance score. The paper divides
    by r(N); with a negative score that would turn the order around, hence |r(N)|.

    Args:
        whole: `[scores]`, of the network with everything alive.
        without: `[candidates, scores]`, with one operation removed.

    Returns:
        `[candidates, scores]` float64; NaN where a score is not finite or r(N) is 0.
    """
    whole, without = np.asarray(whole, np.float64), np.asarray(without, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        importance = (whole - without) / np.abs(whole)
    return np.where(np.isfinite(importance), importance, np.nan)


def candidate_operations(mask: SpaceMask) -> list[Operation]:
    """Kept operations whose removal leaves their edge with another one."""
    return [
        (cell, edge, op)
        for cell, edge, op in mask.space.operations()
        if mask.keeps(cell, edge, op) and len(mask.edge(cell, edge)) > 1
    ]


def leave_one_out(
    mask: SpaceMask, operations: Sequence[Operation]
) -> dict[str, np.ndarray]:
    """Live arrays of the whole mask and of the mask without each operation.

    Returns:
        0/1 float32 `[1 + len(operations), edges, operations]` by cell name.
    """
    count = 1 + len(operations)
    live = {
        name: np.repeat(array[None].astype(np.float32), count, axis=0)
        for name, array in mask.arrays().items()
    }
    for index, (cell, edge, op) in enumerate(operations, start=1):
        live[cell][index, edge, mask.space.cell(cell).ops.index(op)] = 0.0
    return live
