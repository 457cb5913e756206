"""The static order in which a cell is computed: waves of operations.

A wave is everything that can run at once: all operations whose source states have the
same depth. A DARTS cell has 14 edges and four waves (8, 3, 2 and 1 edges).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.ops import Form, get_op
from nas_jax.networks.parameters import Specs, stacked
from nas_jax.spaces import NONE, CellGenotype, CellSpec, SpaceMask


@dataclasses.dataclass(frozen=True)
class PlannedOp:
    """One operation to compute.

    Attributes:
        op: Name of the operation.
        source: State that it reads.
        target: Node that it adds to.
        edge: Row of the architecture weights that scales it.
        column: Column of the architecture weights that scales it.
        stride: 2 for what reads an input of a cell that halves the image, else 1.
    """

    op: str
    source: int
    target: int
    edge: int
    column: int
    stride: int = 1

    @property
    def form(self) -> Form:
        """What the operation is with its stride."""
        return get_op(self.op).form(self.stride)


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """What a cell computes, wave by wave.

    Attributes:
        num_inputs: Number of input states.
        nodes: The nodes.
        waves: Operations of each wave, ordered by target, source and column.
        concat: States whose concatenation is the output.
    """

    num_inputs: int
    nodes: tuple[int, ...]
    waves: tuple[tuple[PlannedOp, ...], ...]
    concat: tuple[int, ...]

    @property
    def ops(self) -> tuple[PlannedOp, ...]:
        """All operations in an order in which every source is complete."""
        return tuple(o for wave in self.waves for o in wave)

    def rows(self, op: str) -> tuple[PlannedOp, ...]:
        """The operations whose parameters are stacked under a name, by row.

        Those that have any: an identity has none, a skip connection that halves has.
        """
        return tuple(o for o in self.ops if o.op == op and o.form.is_parametric)

    @property
    def parametric(self) -> tuple[str, ...]:
        """Names of the operations that have parameters here."""
        return tuple(dict.fromkeys(o.op for o in self.ops if o.form.is_parametric))

    def specs(self, channels: int, affine: bool) -> Specs:
        """Parameters by operation, each kind's stacked in the order of the plan."""
        found = {}
        for op in self.parametric:
            rows = self.rows(op)
            found[op] = stacked(rows[0].form.specs(channels, affine), len(rows))
        return found

    def live(self, weights: jax.Array) -> dict[str, jax.Array]:
        """0/1 for each row of `specs`: whether its weight is above zero."""
        return {op: alive(weights, self.rows(op)) for op in self.parametric}

    def select(self, params: Specs, ops: tuple[PlannedOp, ...]) -> Specs:
        """The rows of an operation's parameters that are those of some of its kind."""
        if not ops[0].form.is_parametric:
            return {}
        rows = [self.rows(ops[0].op).index(o) for o in ops]
        part: Any = slice(rows[0], rows[0] + len(ops))
        if rows != list(range(part.start, part.stop)):
            part = np.array(rows)
        return jax.tree.map(lambda p: p[part], params[ops[0].op])


def take(weights: jax.Array, ops: tuple[PlannedOp, ...]) -> jax.Array:
    """The architecture weights `[edges, operations]` of some operations, `[K]`."""
    edges, columns = ([getattr(o, name) for o in ops] for name in ("edge", "column"))
    return weights[np.array(edges), np.array(columns)]


def alive(weights: jax.Array, ops: tuple[PlannedOp, ...]) -> jax.Array:
    """1 for each operation whose weight is above zero, else 0: `[K]` float32."""
    return (take(weights, ops) > 0).astype(np.float32)


def draw_keys(ops: Sequence[PlannedOp], key: jax.Array | None) -> jax.Array | None:
    """A key for every operation, by its place in the space; None if none draws."""
    if not any(o.form.draws for o in ops):
        return None
    assert key is not None
    places = jnp.array([(o.edge, o.column) for o in ops])
    fold = jax.random.fold_in
    return jax.vmap(lambda place: fold(fold(key, place[0]), place[1]))(places)


def plan_supernet(mask: SpaceMask, cell: str, halves: bool = False) -> CellPlan:
    """All kept operations of a cell; `none` and pruned operations are not in it.

    Args:
        mask: The kept operations.
        cell: Name of the cell.
        halves: Whether what reads an input has stride 2.
    """
    spec = mask.space.cell(cell)
    ops = [
        PlannedOp(op, source, target, edge, column, _stride(spec, source, halves))
        for edge, (source, target) in enumerate(spec.edges)
        for column, op in enumerate(spec.ops)
        if op != NONE and mask.keeps(cell, edge, op)
    ]
    return _plan(spec, ops, spec.output)


def plan_genotype(
    spec: CellSpec, genotype: CellGenotype, halves: bool = False
) -> CellPlan:
    """The operations of one discrete cell, however its genes and output are listed."""
    ops = []
    for target, (op, source) in zip(spec.gene_nodes, genotype.genes, strict=True):
        if op != NONE:
            edge, column = spec.edges.index((source, target)), spec.ops.index(op)
            stride = _stride(spec, source, halves)
            ops.append(PlannedOp(op, source, target, edge, column, stride))
    return _plan(spec, ops, tuple(sorted(genotype.concat)))


def _stride(spec: CellSpec, source: int, halves: bool) -> int:
    return 2 if halves and source < spec.num_inputs else 1


def _plan(spec: CellSpec, ops: list[PlannedOp], concat: tuple[int, ...]) -> CellPlan:
    depth = dict.fromkeys(range(spec.num_inputs), 0)
    for node in spec.nodes:
        incoming = [depth[o.source] for o in ops if o.target == node]
        depth[node] = 1 + max(incoming, default=-1)
    ops = sorted(ops, key=lambda o: (o.target, o.source, o.column))
    waves = [
        tuple(o for o in ops if depth[o.source] == wave)
        for wave in range(max(depth.values()))
    ]
    nonempty = tuple(wave for wave in waves if wave)
    return CellPlan(spec.num_inputs, tuple(spec.nodes), nonempty, concat)
