"""The cells that an artefact talks about: their states, edges and operations."""

from __future__ import annotations

from dataclasses import dataclass

from nas_jax.artefacts import CellGenotype, ChosenCells, Pruning
from nas_jax.errors import WorkdirError
from nas_jax.report.artefacts import Artefacts
from nas_jax.report.logs import SearchLog
from nas_jax.spaces import SPACES, SearchSpace, get_space


@dataclass(frozen=True)
class CellShape:
    """States `0 .. num_inputs - 1` are inputs, the `num_nodes` after them are nodes."""

    name: str
    num_inputs: int
    num_nodes: int
    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Gene:
    """A chosen operation on the edge from state `source` to state `target`."""

    operation: str
    source: int
    target: int


def shapes_of_space(space: SearchSpace) -> dict[str, CellShape]:
    """The shapes of a search space's cells by name."""
    return {
        cell.name: CellShape(
            cell.name, cell.num_inputs, cell.num_nodes, cell.edges, cell.ops
        )
        for cell in space.cells
    }


def shapes_of_pruning(pruning: Pruning) -> dict[str, CellShape]:
    """The shapes that the rows of prune.json spell out, so no registry is needed."""
    edges: dict[str, dict[int, tuple[int, int]]] = {}
    names: dict[str, dict[str, None]] = {}
    for row in pruning.operations:
        edge = edges.setdefault(row.cell, {}).setdefault(
            row.edge, (row.source, row.target)
        )
        if edge != (row.source, row.target):
            raise WorkdirError(
                f"prune.json: edge {row.edge} of cell {row.cell!r} is both {edge} and "
                f"{(row.source, row.target)}; prune again"
            )
        names.setdefault(row.cell, {})[row.name] = None
    shapes = {}
    for cell, found in edges.items():
        if sorted(found) != list(range(len(found))):
            raise WorkdirError(
                f"prune.json: cell {cell!r} has the edges {sorted(found)}, expected "
                f"0 to {len(found) - 1}; prune again"
            )
        pairs = tuple(found[index] for index in range(len(found)))
        first = min(target for _, target in pairs)
        last = max(target for _, target in pairs)
        shapes[cell] = CellShape(
            cell, first, last - first + 1, pairs, tuple(names[cell])
        )
    return shapes


def find_shapes(
    artefacts: Artefacts, space: SearchSpace | None = None
) -> dict[str, CellShape]:
    """The cells by name: from `space`, else from prune.json, else from the registry.

    Empty when none of the three knows the space.
    """
    if space is not None:
        return shapes_of_space(space)
    if artefacts.pruning is not None and artefacts.pruning.operations:
        return shapes_of_pruning(artefacts.pruning)
    named = artefacts.genotype.space if artefacts.genotype else _configured(artefacts)
    return shapes_of_space(get_space(named)) if named in SPACES else {}


def _configured(artefacts: Artefacts) -> str:
    section = (artefacts.config or {}).get("space")
    return str(section.get("name", "")) if isinstance(section, dict) else ""


def genes_of(cell: CellGenotype, shape: CellShape) -> tuple[Gene, ...]:
    """The cell's choices with their target states.

    A genotype has a choice for every edge, in their order, or equally many for each
    node.

    Raises:
      WorkdirError: the genotype does not fit the cell.
    """
    where = f"genotype.json: cell {shape.name!r}"
    states = shape.num_inputs + shape.num_nodes
    every = len(cell.edges) == len(shape.edges)
    if not cell.edges or not every and len(cell.edges) % shape.num_nodes:
        raise WorkdirError(
            f"{where} has {len(cell.edges)} choices, expected a multiple of its "
            f"{shape.num_nodes} nodes; search again"
        )
    per_node = len(cell.edges) // shape.num_nodes
    targets = [shape.num_inputs + i // per_node for i in range(len(cell.edges))]
    if every:
        targets = [target for _, target in shape.edges]
    genes = []
    for (operation, source), target in zip(cell.edges, targets, strict=True):
        if source >= target:
            raise WorkdirError(
                f"{where} feeds state {target} from state {source}; a source must come "
                "before its target; search again"
            )
        genes.append(Gene(operation, source, target))
    if not cell.concat or any(state >= states for state in cell.concat):
        raise WorkdirError(
            f"{where} outputs the states {list(cell.concat)}, allowed: 0 to "
            f"{states - 1}; search again"
        )
    return tuple(genes)


def check_alphas(search: SearchLog, shapes: dict[str, CellShape]) -> None:
    """Raises `WorkdirError` if the logged probabilities do not fit the cells."""
    for name, edges in search.alphas[0].items():
        shape = shapes.get(name)
        if shape is None:
            raise WorkdirError(
                f"search.jsonl has alphas of a cell {name!r}, the space has "
                f"{', '.join(shapes)}; search again in a new directory"
            )
        sizes = {len(edge) for edge in edges}
        if len(edges) != len(shape.edges) or sizes != {len(shape.operations)}:
            raise WorkdirError(
                f"search.jsonl has alphas of {len(edges)} edges by {sorted(sizes)} "
                f"operations in cell {name!r}, expected {len(shape.edges)} by "
                f"{len(shape.operations)}; search again in a new directory"
            )


def genotype_genes(
    chosen: ChosenCells, shapes: dict[str, CellShape]
) -> dict[str, tuple[Gene, ...]]:
    """The genes of every cell of a genotype, by cell.

    Raises:
      WorkdirError: the genotype names a cell that the space lacks, or does not fit.
    """
    unknown = [name for name in chosen.cells if name not in shapes]
    if unknown:
        raise WorkdirError(
            f"genotype.json has a cell {unknown[0]!r}, the space has "
            f"{', '.join(shapes)}; search again in a new directory"
        )
    return {name: genes_of(cell, shapes[name]) for name, cell in chosen.cells.items()}
