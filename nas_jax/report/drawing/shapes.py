"""The cells that an artefact talks about, and what a genotype chose in them."""

from __future__ import annotations

from dataclasses import dataclass

from nas_jax.artefacts import CellGenotype, ChosenCells, Pruning
from nas_jax.errors import WorkdirError
from nas_jax.report.artefacts import Artefacts
from nas_jax.report.logs import SearchLog
from nas_jax.spaces import SPACES, CellSpec, SearchSpace, get_space


@dataclass(frozen=True)
class Gene:
    """A chosen operation on the edge from state `source` to state `target`."""

    operation: str
    source: int
    target: int


def shapes_of_space(space: SearchSpace) -> dict[str, CellSpec]:
    """The cells by name."""
    return {cell.name: cell for cell in space.cells}


def shapes_of_pruning(pruning: Pruning) -> dict[str, CellSpec]:
    """The cells that the rows of prune.json spell out, so no registry is needed."""
    edges: dict[str, dict[int, tuple[int, int]]] = {}
    names: dict[str, dict[str, None]] = {}
    for row in pruning.operations:
        found, ends = edges.setdefault(row.cell, {}), (row.source, row.target)
        if found.setdefault(row.edge, ends) != ends:
            raise WorkdirError(
                f"prune.json: edge {row.edge} of cell {row.cell!r} is both "
                f"{found[row.edge]} and {ends}; prune again"
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
        targets = [target for _, target in pairs]
        first, count = min(targets), max(targets) - min(targets) + 1
        try:
            shapes[cell] = CellSpec(cell, first, count, pairs, tuple(names[cell]), None)
        except ValueError as error:
            raise WorkdirError(f"prune.json: {error}; prune again") from error
    return shapes


def find_shapes(
    artefacts: Artefacts, space: SearchSpace | None = None
) -> dict[str, CellSpec]:
    """The cells by name, from `space`, prune.json or the registry; else none."""
    if space is not None:
        return shapes_of_space(space)
    if artefacts.pruning is not None and artefacts.pruning.operations:
        return shapes_of_pruning(artefacts.pruning)
    section = (artefacts.config or {}).get("space")
    named = section.get("name") if isinstance(section, dict) else None
    if artefacts.genotype:
        named = artefacts.genotype.space
    return shapes_of_space(get_space(str(named))) if named in SPACES else {}


def genes_of(cell: CellGenotype, shape: CellSpec) -> tuple[Gene, ...]:
    """The cell's choices: one for every edge, in their order, or as many a node."""
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


def check_alphas(search: SearchLog, shapes: dict[str, CellSpec]) -> None:
    """Raises `WorkdirError` if the logged probabilities do not fit the cells."""
    for name, edges in search.alphas[0].items():
        shape = shapes.get(name)
        if shape is None:
            raise WorkdirError(
                f"search.jsonl has alphas of a cell {name!r}, the space has "
                f"{', '.join(shapes)}; search again in a new directory"
            )
        sizes = {len(edge) for edge in edges}
        if len(edges) != len(shape.edges) or sizes != {len(shape.ops)}:
            raise WorkdirError(
                f"search.jsonl has alphas of {len(edges)} edges by {sorted(sizes)} "
                f"operations in cell {name!r}, expected {len(shape.edges)} by "
                f"{len(shape.ops)}; search again in a new directory"
            )


def genotype_genes(
    chosen: ChosenCells, shapes: dict[str, CellSpec]
) -> dict[str, tuple[Gene, ...]]:
    """The genes of every cell; WorkdirError where the space lacks it or it differs."""
    unknown = [name for name in chosen.cells if name not in shapes]
    if unknown:
        raise WorkdirError(
            f"genotype.json has a cell {unknown[0]!r}, the space has "
            f"{', '.join(shapes)}; search again in a new directory"
        )
    return {name: genes_of(cell, shapes[name]) for name, cell in chosen.cells.items()}
