"""The static order in which a cell is computed: waves of operations.

A wave is everything that can run at once: all operations whose source states have the
same depth. A DARTS cell has 14 edges and four waves (8, 3, 2 and 1 edges), so stacking
a wave's operations makes 4 steps out of 14, with the same arithmetic.
"""

from __future__ import annotations

import dataclasses

from nas_jax.spaces import NONE, CellGenotype, CellSpec, SpaceMask

SKIP = "skip_connect"


@dataclasses.dataclass(frozen=True)
class PlannedOp:
    """One operation to compute.

    Attributes:
        op: Name of the operation.
        source: State that it reads.
        target: Node that it adds to.
        edge: Row of the architecture weights that scales it.
        column: Column of the architecture weights that scales it.
    """

    op: str
    source: int
    target: int
    edge: int
    column: int


@dataclasses.dataclass(frozen=True)
class CellPlan:
    """What a cell computes, wave by wave.

    Attributes:
        num_inputs: Number of input states.
        waves: Operations of each wave, ordered by target, source and column.
        concat: States whose concatenation is the output.
    """

    num_inputs: int
    waves: tuple[tuple[PlannedOp, ...], ...]
    concat: tuple[int, ...]

    @property
    def ops(self) -> tuple[PlannedOp, ...]:
        """All operations in an order in which every source is complete."""
        return tuple(o for wave in self.waves for o in wave)

    def stride(self, op: PlannedOp, reduction: bool) -> int:
        """2 for what reads an input of a reduction cell, else 1."""
        return 2 if reduction and op.source < self.num_inputs else 1

    def stacked(self, op: str, reduction: bool) -> tuple[PlannedOp, ...]:
        """The operations whose parameters are stacked under one name, by row.

        An identity has none; a skip connection that halves the image has.
        """
        return tuple(
            o
            for o in self.ops
            if o.op == op and (op != SKIP or self.stride(o, reduction) == 2)
        )

    def named(self, parameter: str, reduction: bool) -> tuple[PlannedOp, ...]:
        """The operations that a parameter stacks, from its name in the cell."""
        op = next(o.op for o in self.ops if parameter.startswith(f"{o.op}_"))
        return self.stacked(op, reduction)


def plan_supernet(mask: SpaceMask, cell: str) -> CellPlan:
    """All kept operations of a cell; `none` and pruned operations are not in it."""
    spec = mask.space.cell(cell)
    ops = [
        PlannedOp(op, source, target, edge, column)
        for edge, (source, target) in enumerate(spec.edges)
        for column, op in enumerate(spec.ops)
        if op != NONE and mask.keeps(cell, edge, op)
    ]
    return _plan(spec, ops, tuple(spec.nodes))


def plan_genotype(spec: CellSpec, genotype: CellGenotype) -> CellPlan:
    """The operations of one discrete cell, however its genes and output are listed."""
    ops = []
    for target, (op, source) in zip(spec.gene_nodes, genotype.genes, strict=True):
        edge = spec.edges.index((source, target))
        ops.append(PlannedOp(op, source, target, edge, spec.ops.index(op)))
    return _plan(spec, ops, tuple(sorted(genotype.concat)))


def _plan(spec: CellSpec, ops: list[PlannedOp], concat: tuple[int, ...]) -> CellPlan:
    depth = dict.fromkeys(range(spec.num_inputs), 0)
    for node in spec.nodes:
        depth[node] = 1 + max(depth[o.source] for o in ops if o.target == node)
    ops = sorted(ops, key=lambda o: (o.target, o.source, o.column))
    waves = [
        tuple(o for o in ops if depth[o.source] == wave)
        for wave in range(max(depth.values()))
    ]
    return CellPlan(spec.num_inputs, tuple(waves), concat)
