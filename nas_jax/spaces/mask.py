"""Which operations of a search space are kept: frozen, hashable, hand-editable."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas_jax.errors import MaskError
from nas_jax.spaces.space import NONE, CellSpec, SearchSpace
from nas_jax.spaces.text import BYTE_ORDER_MARK, read_text, short

Kept = tuple[tuple[tuple[str, ...], ...], ...]


@dataclasses.dataclass(frozen=True)
class SpaceMask:
    """The operations kept on every edge of every cell of a space.

    A mask is checked when it is made: every edge keeps an operation, and every node
    keeps enough edges with an operation that can be selected to be discretised.

    Attributes:
        kept: `kept[cell][edge]` holds operation names in the space's order.
    """

    space: SearchSpace
    kept: Kept

    def __post_init__(self) -> None:
        if len(self.kept) != len(self.space.cells):
            names = [cell.name for cell in self.space.cells]
            raise MaskError(
                f"the mask has {len(self.kept)} cells; space {self.space.name!r} has "
                f"{len(names)}: {', '.join(names)}"
            )
        kept = []
        for cell, edges in zip(self.space.cells, self.kept, strict=True):
            _check_cell(cell, edges)
            kept.append(tuple(tuple(o for o in cell.ops if o in e) for e in edges))
        # One order of operations, so that equal masks compare equal.
        object.__setattr__(self, "kept", tuple(kept))

    @classmethod
    def full(cls, space: SearchSpace) -> SpaceMask:
        """The mask that keeps everything."""
        return cls(space, tuple((cell.ops,) * len(cell.edges) for cell in space.cells))

    @classmethod
    def from_arrays(
        cls, space: SearchSpace, arrays: Mapping[str, np.ndarray]
    ) -> SpaceMask:
        """From one 0/1 or boolean array `[edges, operations]` for each cell name.

        Raises:
            MaskError: On a missing or unknown cell, a wrong shape, values other than 0
                and 1 or an edge left empty.
        """
        names = [cell.name for cell in space.cells]
        unknown = [name for name in arrays if name not in names]
        if unknown:
            raise MaskError(
                f"space {space.name!r} has no cells {unknown}; it has {names}"
            )
        kept = []
        for cell in space.cells:
            shape = (len(cell.edges), len(cell.ops))
            array = np.asarray(arrays.get(cell.name))
            if array.shape != shape:
                raise MaskError(
                    f"mask of cell {cell.name!r} has shape {array.shape}; space "
                    f"{space.name!r} needs [edges, operations] = {shape}"
                )
            other = array[(array != 0) & (array != 1)]
            if other.size:
                raise MaskError(
                    f"mask of cell {cell.name!r} holds {other[0]!s}; a mask holds 0 "
                    "and 1, or booleans: say what is kept, such as weights > 0"
                )
            kept.append(tuple(tuple(itertools.compress(cell.ops, a)) for a in array))
        return cls(space, tuple(kept))

    @classmethod
    def load(cls, space: SearchSpace, path: str | Path) -> SpaceMask:
        """From a UTF-8 file with what `from_json` takes; `~` is the home folder.

        Raises:
            MaskError: It cannot be read as text, or holds no mask of the space.
        """
        remedy = "give a mask or a prune.json"
        return cls.from_json(space, read_text(path, MaskError, remedy))

    @classmethod
    def from_json(cls, space: SearchSpace, text: str) -> SpaceMask:
        """From the JSON that `to_json` writes, or from a `prune.json` that holds it.

        Raises:
            MaskError: On broken JSON, another space, or no mask of the space.
        """
        try:
            data = json.loads(text.removeprefix(BYTE_ORDER_MARK))
        except (ValueError, RecursionError) as error:
            raise MaskError(f"the mask is not JSON: {error}") from None
        if isinstance(data, dict) and isinstance(data.get("mask"), dict):
            data = data["mask"]
        cells = data.get("cells") if isinstance(data, dict) else None
        if not isinstance(cells, dict):
            raise MaskError(
                'a mask is {"space": name, "cells": {cell: [[operation, ...] for each '
                f"edge]}}}}; got {short(data)}"
            )
        if data.get("space") != space.name:
            raise MaskError(
                f"the mask is for space {data.get('space')!r}, not {space.name!r}"
            )
        names = [cell.name for cell in space.cells]
        if sorted(cells) != sorted(names):
            raise MaskError(f"the mask has cells {sorted(cells)}; expected {names}")
        return cls(space, tuple(_parse_cell(c, cells[c.name]) for c in space.cells))

    def to_json(self) -> str:
        """JSON with operation names, one edge a line: made to be edited by hand."""
        cells = ",\n".join(
            f'    "{cell.name}": [\n'
            + ",\n".join(f"      {json.dumps(list(ops))}" for ops in edges)
            + "\n    ]"
            for cell, edges in zip(self.space.cells, self.kept, strict=True)
        )
        name = json.dumps(self.space.name)
        return f'{{\n  "space": {name},\n  "cells": {{\n{cells}\n  }}\n}}\n'

    def to_dict(self) -> dict[str, Any]:
        """The same as `to_json`, as plain Python containers."""
        return dict(json.loads(self.to_json()))

    def arrays(self) -> dict[str, np.ndarray]:
        """Boolean arrays `[edges, operations]` by cell name."""
        return {
            cell.name: np.array([[op in ops for op in cell.ops] for ops in edges])
            for cell, edges in zip(self.space.cells, self.kept, strict=True)
        }

    def edge(self, cell: str, edge: int) -> tuple[str, ...]:
        """Operations kept on an edge."""
        return self.cell(cell)[edge]

    def cell(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Operations kept on every edge of a cell."""
        return self.kept[self.space.cells.index(self.space.cell(name))]

    def keeps(self, cell: str, edge: int, op: str) -> bool:
        """Whether an operation is kept."""
        return op in self.edge(cell, edge)

    @property
    def num_kept(self) -> int:
        """Number of operations kept in all cells together."""
        return sum(len(ops) for edges in self.kept for ops in edges)

    @property
    def kept_fraction(self) -> float:
        """Operations kept over all operations of the space."""
        return self.num_kept / self.space.num_operations

    def fraction_of(self, start: SpaceMask) -> float:
        """Operations kept over those of the mask that this one is a part of."""
        return self.num_kept / start.num_kept

    def drop(self, operations: Iterable[tuple[str, int, str]]) -> SpaceMask:
        """A mask without the given (cell, edge, operation) triples.

        Raises:
            MaskError: If one of them is not kept, or if an edge is left empty.
        """
        gone = set(operations)
        known = set(self.space.operations())
        for cell, edge, op in gone:
            if (cell, edge, op) not in known:
                raise MaskError(
                    f"space {self.space.name!r} has no operation {op!r} on edge {edge} "
                    f"of a cell {cell!r}"
                )
            if not self.keeps(cell, edge, op):
                raise MaskError(f"{op!r} is not kept on edge {edge} of {cell!r}")
        return self._where(lambda *operation: operation not in gone)

    def __and__(self, other: SpaceMask) -> SpaceMask:
        """What both masks keep."""
        if other.space != self.space:
            raise MaskError(f"masks of {self.space.name!r} and {other.space.name!r}")
        return self._where(other.keeps)

    def __le__(self, other: SpaceMask) -> bool:
        """Whether `other` keeps everything that this mask keeps."""
        return self.space == other.space and all(
            set(mine) <= set(theirs)
            for cell, others in zip(self.kept, other.kept, strict=True)
            for mine, theirs in zip(cell, others, strict=True)
        )

    def _where(self, keep: Callable[[str, int, str], bool]) -> SpaceMask:
        kept = tuple(
            tuple(
                tuple(op for op in ops if keep(cell.name, edge, op))
                for edge, ops in enumerate(edges)
            )
            for cell, edges in zip(self.space.cells, self.kept, strict=True)
        )
        return SpaceMask(self.space, kept)


def _parse_cell(cell: CellSpec, rows: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(rows, list) or len(rows) != len(cell.edges):
        raise MaskError(
            f"cell {cell.name!r} of the mask must list the operations of "
            f"{len(cell.edges)} edges; got {short(rows)}"
        )
    for edge, ops in enumerate(rows):
        if not isinstance(ops, list) or not all(isinstance(op, str) for op in ops):
            raise MaskError(
                f"edge {edge} of cell {cell.name!r} must be a list of operation "
                f"names; got {short(ops)}"
            )
    return tuple(map(tuple, rows))


def _check_cell(cell: CellSpec, edges: tuple[tuple[str, ...], ...]) -> None:
    if len(edges) != len(cell.edges):
        raise MaskError(
            f"cell {cell.name!r} has {len(cell.edges)} edges; the mask has {len(edges)}"
        )
    for index, ops in enumerate(edges):
        where = f"edge {index} {cell.edges[index]} of cell {cell.name!r}"
        for op in ops:
            if op not in cell.ops:
                raise MaskError(
                    f"{where} keeps unknown operation {op!r}; allowed: "
                    f"{', '.join(cell.ops)}"
                )
        if len(set(ops)) != len(ops):
            raise MaskError(f"{where} repeats an operation: {list(ops)}")
        if not ops:
            raise MaskError(
                f"{where} keeps no operation: the mask cuts it. Keep at least one "
                f"of {', '.join(cell.ops)}"
            )
    for node in cell.nodes:
        live = sum(
            not set(edges[e]).isdisjoint(cell.selectable) for e in cell.incoming(node)
        )
        if live < cell.num_selected(node):
            raise MaskError(
                f"node {node} of cell {cell.name!r} has {live} edges with an operation "
                f"other than {NONE!r}; discretisation needs {cell.num_selected(node)}"
            )
