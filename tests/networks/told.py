"""What networks tell, as lists of arrays to compare."""

from __future__ import annotations

from typing import Any

import numpy as np


def repeated(pairs: Any) -> list[Any]:
    """Every row as often as its count says."""
    return [
        row
        for rows, counts in pairs
        for row, count in zip(rows, counts, strict=True)
        for _ in range(int(count))
    ]


def assert_same_arrays(actual: list[Any], expected: list[Any]) -> None:
    """The same arrays, in any order."""

    def ordered(arrays: list[Any]) -> list[np.ndarray]:
        # A plain sum would not tell normalised arrays apart.
        def key(array: np.ndarray) -> Any:
            return array.shape, float(array.ravel() @ np.cos(np.arange(array.size)))

        return sorted(map(np.asarray, arrays), key=key)

    assert len(actual) == len(expected)
    for a, b in zip(ordered(actual), ordered(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
