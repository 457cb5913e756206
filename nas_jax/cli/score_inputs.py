"""What `nas-jax score` reads: architectures, and accuracies to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nas_jax.errors import DataError, GenotypeError
from nas_jax.scoring.sampling import genotype_at
from nas_jax.spaces import Genotype, SearchSpace
from nas_jax.tabular import load_table

COLUMN = "arch_str"
"""The column that holds architectures, in files that are read and written."""


def read_architectures(
    file: str, space: SearchSpace, check: Callable[[Genotype], object]
) -> list[Genotype]:
    """The architectures of a file, in its order.

    Args:
        file: A text file with one architecture a line, in the notation of the space or
            as JSON; empty lines are skipped. Or a CSV file, plain or compressed by
            gzip, with a column `arch_str`: its name ends in .csv or .csv.gz.
        space: The search space.
        check: Raises GenotypeError for an architecture that cannot be scored.

    Raises:
        NasJaxError: The file cannot be read, has none, one of them twice, or one that
            is malformed or of another space; names the line.
    """
    path = Path(file).expanduser()
    table = path.name.lower().endswith((".csv", ".csv.gz"))
    found: dict[Genotype, str] = {}
    for where, text in _rows(path) if table else _lines(path):
        try:
            genotype = Genotype.parse(space, text)
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
            f"{genotype_at(space, 0)}"
        )
    return list(found)


def read_accuracies(
    file: str, target: str, space: SearchSpace, architectures: Sequence[str]
) -> np.ndarray:
    """A table's accuracies of architectures.

    Spaces and the like do not matter: the table's architectures are parsed where they
    are of the space.

    Args:
        file: The table, a CSV file with a column `arch_str`.
        target: Its column with the accuracy.
        space: The search space.
        architectures: N architectures, as `str` of a genotype writes them.

    Returns:
        Float64 `[N]`; NaN where the table lacks the architecture or its accuracy.

    Raises:
        NasJaxError: The table cannot be read, has no such column, or has no accuracy
            of any of the architectures.
    """
    table = load_table(file, COLUMN, [target])
    rows = {_canonical(space, name): i for i, name in enumerate(table.architectures)}
    column = np.append(table.column(target), np.nan)
    values = column[[rows.get(name, -1) for name in architectures]]
    if not np.isfinite(values).any():
        raise DataError(
            f"{table.source} has no {target!r} of any of the {len(architectures)} "
            f"architectures to score, such as {architectures[0]!r}; give a table of "
            f"space {space.name!r}, or take the architectures from it with --archs"
        )
    return values


def _canonical(space: SearchSpace, text: str) -> str:
    try:
        return str(Genotype.parse(space, text))
    except GenotypeError:
        return text


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    for row, name in enumerate(load_table(path, COLUMN, []).architectures, 1):
        yield f"row {row} below the header", name


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); give a text file with one "
            "architecture a line, or a .csv or .csv.gz file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no text in UTF-8 ({error.reason}); give one architecture a "
            "line, or name it .csv or .csv.gz if it is such a file"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"line {number}", line
