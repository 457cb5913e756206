"""Tables of architectures: a name for each row, and columns of numbers."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas_jax.errors import ConfigError, DataError
from nas_jax.paths import local_path


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers of architectures, as `load_table` reads them.

    Attributes:
      architectures: the rows' names, each once.
      columns: float64 `[N]` by name; NaN where a value is missing or failed.
      source: the file.
    """

    architectures: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    source: str

    def __len__(self) -> int:
        """The number of architectures."""
        return len(self.architectures)

    def column(
        self, name: str, architectures: Sequence[str] | None = None
    ) -> np.ndarray:
        """A column, float64 `[N]`, or the rows of it that are named, in their order.

        Raises:
          ConfigError: there is no such column or architecture.
        """
        if name not in self.columns:
            raise ConfigError(
                f"{self.source} has no column {name!r}; allowed: "
                f"{', '.join(self.columns)}."
            )
        if architectures is None:
            return self.columns[name]
        rows = {known: row for row, known in enumerate(self.architectures)}
        for wanted in architectures:
            if wanted not in rows:
                raise ConfigError(
                    f"{self.source} has no architecture {wanted!r} among its "
                    f"{len(self)}, for instance {self.architectures[0]!r}. Names must "
                    "agree to the letter."
                )
        return self.columns[name][[rows[wanted] for wanted in architectures]]


def load_table(
    path: str | os.PathLike[str],
    architecture: str = "arch_str",
    columns: Sequence[str] | None = None,
    failed: float | None = None,
) -> Table:
    """Reads a table from a CSV file, plain or compressed by gzip.

    The first line names the columns, an empty cell is a missing value.

    Args:
      path: the file.
      architecture: the column whose text identifies the architecture.
      columns: the columns to read, which must be of numbers; by default all others.
      failed: the number that stands for a failed value and is read as NaN. NASLib's
        files of proxies have -1e8.

    Raises:
      ConfigError: the file has no such column.
      DataError: the file is missing, empty or damaged, a cell is not a number, or an
        architecture stands in two lines. The error names the line.
    """
    file = local_path(path)
    text = _read_text(file)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        # The line that a row ends in, for the error messages.
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(
            f"{file}, line {reader.line_num}: not CSV ({error}). Write the table with "
            "commas between the cells."
        ) from error
    for name in header:
        if header.count(name) > 1:
            raise DataError(
                f"{file} names the column {name!r} more than once. Rename one of them."
            )
    for name in [architecture, *(columns or ())]:
        if name not in header:
            raise ConfigError(
                f"{file} has no column {name!r}; allowed: {', '.join(header)}. The "
                "first line must name the columns, with commas between them."
            )
    if not rows:
        raise DataError(
            f"{file} has no row below its header. Give a table with a row for each "
            "architecture."
        )
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{file}, line {line}: {len(row)} cells, but the header names "
                f"{len(header)} columns. Was the file cut off?"
            )
    names = _names(file, rows, header.index(architecture))
    if columns is None:
        columns = [name for name in header if name != architecture]
    values = {
        name: _numbers(file, rows, header.index(name), name, failed) for name in columns
    }
    return Table(names, values, str(file))


Rows = list[tuple[int, list[str]]]


def _read_text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(
            f"{file} cannot be read ({error.strerror}). Give the path of a .csv or "
            ".csv.gz file."
        ) from error
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    # A damaged gzip file raises BadGzipFile, EOFError or zlib.error.
    except Exception as error:
        raise DataError(
            f"{file} is no table: {type(error).__name__}: {error}. Give a .csv or "
            ".csv.gz file in UTF-8 that was copied completely."
        ) from error
    if not text.strip():
        raise DataError(f"{file} is empty. Give a table with a header and rows.")
    return text


def _names(file: Path, rows: Rows, cell: int) -> tuple[str, ...]:
    lines: dict[str, int] = {}
    for line, row in rows:
        name = row[cell].strip()
        if not name:
            raise DataError(
                f"{file}, line {line}: the architecture has no name. Fill the cell in "
                "or remove the line."
            )
        if name in lines:
            raise DataError(
                f"{file}, lines {lines[name]} and {line}: the architecture {name!r} "
                "stands twice. Keep one of them."
            )
        lines[name] = line
    return tuple(lines)


def _numbers(
    file: Path, rows: Rows, cell: int, name: str, failed: float | None
) -> np.ndarray:
    numbers = np.empty(len(rows), np.float64)
    for index, (line, row) in enumerate(rows):
        try:
            numbers[index] = float(row[cell]) if row[cell].strip() else np.nan
        except ValueError as error:
            raise DataError(
                f"{file}, line {line}: {row[cell]!r} in the column {name!r} is not a "
                "number. Correct it, or give the columns to read."
            ) from error
    if failed is not None:
        numbers[numbers == failed] = np.nan
    return numbers
