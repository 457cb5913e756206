"""Random architectures of a search space: uniform, and none of them twice."""

from __future__ import annotations

import itertools
import math
import operator
import random

from nas_jax.errors import ConfigError
from nas_jax.spaces import CellGenotype, Gene, Genotype, SearchSpace, SpaceMask


def sample_genotypes(
    space: SearchSpace | SpaceMask, num: int, seed: int
) -> list[Genotype]:
    """Distinct architectures, drawn uniformly from all that a space has.

    A node of DARTS has two different incoming edges and an operation other than `none`
    on each, its edges in the order of their sources; a node of NAS-Bench-201 has an
    operation on every incoming edge, `none` included. More architectures of the same
    seed begin with the fewer ones.

    Args:
        space: The search space, or what a mask keeps of one.
        num: Number of architectures, from 1 to the size of the space.
        seed: Equal seeds draw equal architectures; 0 or more.

    Raises:
        ConfigError: The space has fewer architectures, `num` is less than 1, or the
            seed is negative.
    """
    whole = space.space if isinstance(space, SpaceMask) else space
    size = whole.size(space if isinstance(space, SpaceMask) else None)
    if seed < 0:
        # Python's generator draws the same of it as of its absolute value.
        raise ConfigError(f"seed is {seed}; it must be an integer of at least 0")
    if not 1 <= num <= size:
        raise ConfigError(
            f"{num} different architectures are wanted, but space {whole.name!r} has "
            f"{size:,}; ask for 1 to {size:,}"
        )
    generator = random.Random(seed)
    # A dict keeps the order of the draws. Drawing again where an index has come before
    # leaves the others equally likely.
    drawn: dict[int, None] = {}
    while len(drawn) < num:
        drawn.setdefault(generator.randrange(size))
    return [genotype_at(space, index) for index in drawn]


def genotype_at(space: SearchSpace | SpaceMask, index: int) -> Genotype:
    """The architecture of a number from 0 to the size of the space, each of them once.

    The number's digits are the choices at the nodes, the last node's first.

    Raises:
        ConfigError: There is no such number.
    """
    mask = space if isinstance(space, SpaceMask) else SpaceMask.full(space)
    rest = operator.index(index)
    cells = []
    for spec in reversed(mask.space.cells):
        genes: list[Gene] = []
        kept = [
            [op for op in spec.selectable if op in ops] for ops in mask.cell(spec.name)
        ]
        for node in reversed(spec.nodes):
            # In how many ways a node takes these edges, with an operation on each.
            ways = [
                (edges, math.prod(len(kept[edge]) for edge in edges))
                for edges in itertools.combinations(
                    spec.incoming(node), spec.num_selected(node)
                )
            ]
            rest, choice = divmod(rest, sum(count for _, count in ways))
            while choice >= ways[0][1]:
                choice -= ways.pop(0)[1]
            chosen: list[Gene] = []
            for edge in ways[0][0]:
                choice, op = divmod(choice, len(kept[edge]))
                chosen.append((kept[edge][op], spec.edges[edge][0]))
            genes = chosen + genes
        cells.append(CellGenotype(spec.name, tuple(genes), spec.output))
    # Nothing is left of a number that the space has.
    if rest:
        raise ConfigError(
            f"space {mask.space.name!r} has no architecture {index}; allowed: 0 to "
            f"{mask.space.size(mask) - 1:,}"
        )
    return Genotype(mask.space, tuple(reversed(cells)))
