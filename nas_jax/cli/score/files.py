"""What `nas-jax score` reads: architectures, and accuracies to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nas_jax.errors import DataError, GenotypeError
from nas_jax.paths import local_path
from nas_jax.scoring.sampling import genotype_at
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask
from nas_jax.spaces.text import read_text
from nas_jax.tabular import load_table

COLUMN = "arch_str"
"""The column that holds architectures, in files that are read and written."""


def read_architectures(
    file: str, start: SpaceMask, check: Callable[[Genotype], object]
) -> list[Genotype]:
    """The architectures of a file, in its order.

    Args:
        file: A text file with one architecture a line, in the notation of the space or
            as JSON; one with open brackets goes on in the next lines, and empty lines
            are skipped. Or a CSV file, plain or compressed by gzip, with a column
            `arch_str`: its name ends in .csv or .csv.gz.

    Raises:
        NasJaxError: The file cannot be read, has none, one of them twice (in whatever
            order its genes are listed), or one that is malformed or of another space;
            names the line.
    """
    path = local_path(file)
    table = path.name.lower().endswith((".csv", ".csv.gz"))
    found: dict[Genotype, str] = {}
    for where, text in _rows(path) if table else _lines(path):
        try:
            genotype = Genotype.parse(start.space, text)
            _refuse_pruned(genotype, start)
            check(genotype)
        except GenotypeError as error:
            raise DataError(f"{path}, {where}: {error}") from error
        if genotype in found:
            raise DataError(
                f"{path}, {found[genotype]} and {where}: the same architecture; keep "
                "one of them"
            )
        found[genotype] = where
    if not found:
        raise DataError(
            f"{path} has no architecture; give one a line, such as "
            f"{genotype_at(start, 0)}"
        )
    return list(found)


def read_accuracies(
    file: str, target: str, space: SearchSpace, architectures: Sequence[str]
) -> np.ndarray:
    """A table's accuracies of architectures.

    Spaces, the order of a node's genes and the like do not matter: architectures are
    parsed where they are of the space, and compared in their canonical order.

    Args:
        architectures: N architectures, as `str` of a genotype writes them.

    Returns:
        Float64 `[N]`; NaN where the table lacks the architecture or its accuracy.

    Raises:
        NasJaxError: The table cannot be read, has no such column, has an architecture
            twice, or has no accuracy of any of the architectures.
    """
    table = load_table(file, COLUMN, [target])
    rows: dict[str, int] = {}
    for row, name in enumerate(table.architectures):
        first = rows.setdefault(_canonical(space, name), row)
        if first != row:
            raise DataError(
                f"{table.source}, rows {first + 1} and {row + 1} below the header: the "
                "same architecture; keep one of them"
            )
    column = np.append(table.column(target), np.nan)
    values = column[[rows.get(_canonical(space, name), -1) for name in architectures]]
    if not np.isfinite(values).any():
        raise DataError(
            f"{table.source} has no {target!r} of any of the {len(architectures)} "
            f"architectures to score, such as {architectures[0]!r}; give a table of "
            f"space {space.name!r}, or take the architectures from it with --archs"
        )
    return values


def _refuse_pruned(genotype: Genotype, start: SpaceMask) -> None:
    for spec, cell in zip(start.space.cells, genotype.cells, strict=True):
        for node, (op, source) in zip(spec.gene_nodes, cell.genes, strict=True):
            edge = spec.edges.index((source, node))
            if not start.keeps(spec.name, edge, op):
                raise GenotypeError(
                    f"{op} is not in the space on edge {edge} of cell {spec.name!r}; "
                    f"allowed: {', '.join(start.edge(spec.name, edge))}"
                )


def _canonical(space: SearchSpace, text: str) -> str:
    try:
        return str(Genotype.parse(space, text).canonical())
    except GenotypeError:
        return text


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    for row, name in enumerate(load_table(path, COLUMN, []).architectures, 1):
        yield f"row {row} below the header", name


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    remedy = "give a text file with one architecture a line, or a .csv or .csv.gz file"
    parts: list[str] = []
    first = depth = 0
    for number, line in enumerate(read_text(path, DataError, remedy).splitlines(), 1):
        if parts and (depth <= 0 or "Genotype(" in line):
            yield f"line {first}", "\n".join(parts)
            parts, depth = [], 0
        if parts or line.strip():
            first = first if parts else number
            parts.append(line)
            code = line.partition("#")[0]
            depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
    if parts:
        yield f"line {first}", "\n".join(parts)
