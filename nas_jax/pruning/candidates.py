"""The candidates that pruning scores, as live arrays of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nas_jax.errors import MaskError
from nas_jax.spaces import SpaceMask

Operation = tuple[str, int, str]
"""Cell name, edge index, operation name."""
Edge = tuple[str, int]
"""Cell name, edge index."""
Live = dict[str, np.ndarray]
"""0/1 float32 `[candidates, edges, operations]` by cell name."""


def removable(mask: SpaceMask, keep: Mapping[Edge, int]) -> list[Operation]:
    """Kept operations of the edges that have more than `keep` says, if it says any."""
    return [
        (cell, edge, op)
        for cell, edge, op in mask.space.operations()
        if mask.keeps(cell, edge, op)
        and (cell, edge) in keep
        and len(mask.edge(cell, edge)) > keep[cell, edge]
    ]


def leave_one_out(mask: SpaceMask, operations: Sequence[Operation]) -> Live:
    """The whole mask, and the mask without each operation: `1 + operations`.

    Raises:
        MaskError: The mask does not keep one of the operations, so that nothing would
            be left out.
    """
    for cell, edge, op in operations:
        if not (0 <= edge < len(mask.cell(cell)) and mask.keeps(cell, edge, op)):
            raise MaskError(
                f"{op!r} on edge {edge} of {cell!r} is not kept, and cannot be left out"
            )
    count = 1 + len(operations)
    live = {
        name: np.repeat(array[None].astype(np.float32), count, axis=0)
        for name, array in mask.arrays().items()
    }
    for index, (cell, edge, op) in enumerate(operations, start=1):
        live[cell][index, edge, mask.space.cell(cell).ops.index(op)] = 0.0
    return live


def random_paths(mask: SpaceMask, num: int, rng: np.random.Generator) -> Live:
    """Architectures with one operation on every edge, drawn from what a mask keeps.

    Each operation of an edge is drawn equally often, or once more than another: an
    operation's marginal mean is then not at the mercy of its number of draws.
    """
    live = {}
    for name, array in mask.arrays().items():
        chosen = np.zeros((num, *array.shape), np.float32)
        for edge, row in enumerate(array):
            kept = np.flatnonzero(row)
            order = rng.permutation(np.resize(rng.permutation(kept), num))
            chosen[np.arange(num), edge, order] = 1.0
        live[name] = chosen
    return live


def members(live: Live, mask: SpaceMask, operations: Sequence[Operation]) -> np.ndarray:
    """Which candidates have which operations alive, 0/1 `[candidates, operations]`."""
    columns = [
        live[cell][:, edge, mask.space.cell(cell).ops.index(op)]
        for cell, edge, op in operations
    ]
    return np.stack(columns, axis=1)
