"""Files that several benchmarks read and write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas_jax.tabular import load_table


def read_accuracies(path: str, column: str) -> dict[str, float]:
    """A column of a table by architecture.

    Raises:
        DataError: The file cannot be read, or has no such column.
    """
    table = load_table(path, columns=[column])
    values = table.columns[column].tolist()
    return dict(zip(table.architectures, values, strict=True))


def write_text(path: str, text: str) -> None:
    """Writes a file whole or not at all."""
    unfinished = Path(f"{path}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")
