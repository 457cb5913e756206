"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Container, Sequence


def aligned(cells: Sequence[Sequence[str]], words: Container[str]) -> str:
    """Cells as columns, words to the left and numbers to the right.

    Args:
        cells: Lines, the header first.
        words: Headers of the columns that hold words.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if header in words else cell.rjust(width)
            for cell, width, header in zip(line, widths, cells[0], strict=True)
        ).rstrip()
        for line in cells
    )
