"""Random architectures of a search space: uniform, and none of them twice."""

from __future__ import annotations

import itertools
import math
import operator
import random

from nas_jax.errors import ConfigError
from nas_jax.spaces import CellGenotype, CellSpec, Gene, Genotype, SearchSpace


def sample_genotypes(space: SearchSpace, num: int, seed: int) -> list[Genotype]:
    """Distinct architectures, drawn uniformly from all that a space has.

    A node of DARTS has two different incoming edges and an operation other than `none`
    on each, its edges in the order of their sources; a node of NAS-Bench-201 has an
    operation on every incoming edge, `none` included. More architectures of the same
    seed begin with the fewer ones.

    Args:
        space: The search space.
        num: Number of architectures, from 1 to the size of the space.
        seed: Equal seeds draw equal architectures; 0 or more.

    Raises:
        ConfigError: The space has fewer architectures, `num` is less than 1, or the
            seed is negative.
    """
    size = space.size()
    if seed < 0:
        # Python's generator draws the same of it as of its absolute value.
        raise ConfigError(f"seed is {seed}; it must be an integer of at least 0")
    if not 1 <= num <= size:
        raise ConfigError(
            f"{num} different architectures are wanted, but space {space.name!r} has "
            f"{size:,}; ask for 1 to {size:,}"
        )
    generator = random.Random(seed)
    # A dict keeps the order of the draws. Drawing again where an index has come before
    # leaves the others equally likely.
    drawn: dict[int, None] = {}
    while len(drawn) < num:
        drawn.setdefault(generator.randrange(size))
    return [genotype_at(space, index) for index in drawn]


def genotype_at(space: SearchSpace, index: int) -> Genotype:
    """The architecture of a number from 0 to `space.size() - 1`, each of them once.

    The number's digits are the choices at the nodes, the last node's first.

    Raises:
        ConfigError: There is no such number.
    """
    rest = operator.index(index)
    cells = []
    for spec in reversed(space.cells):
        genes: list[Gene] = []
        for node in reversed(spec.nodes):
            rest, choice = divmod(rest, _num_choices(spec, node))
            genes = _genes_at(spec, node, choice) + genes
        cells.append(CellGenotype(spec.name, tuple(genes), spec.output))
    # Nothing is left of a number that the space has.
    if rest:
        raise ConfigError(
            f"space {space.name!r} has no architecture {index}; allowed: 0 to "
            f"{space.size() - 1:,}"
        )
    return Genotype(space, tuple(reversed(cells)))


def _num_choices(spec: CellSpec, node: int) -> int:
    """In how many ways a node takes its edges, with an operation on each."""
    chosen = spec.num_selected(node)
    edges = math.comb(len(spec.incoming(node)), chosen)
    return edges * len(spec.selectable) ** chosen


def _genes_at(spec: CellSpec, node: int, choice: int) -> list[Gene]:
    """A node's genes: digits for the operations, above them one for the edges."""
    chosen = spec.num_selected(node)
    ops = []
    for _ in range(chosen):
        choice, op = divmod(choice, len(spec.selectable))
        ops.append(spec.selectable[op])
    edges = next(
        itertools.islice(
            itertools.combinations(spec.incoming(node), chosen), choice, None
        )
    )
    return [(op, spec.edges[edge][0]) for op, edge in zip(ops, edges, strict=True)]
