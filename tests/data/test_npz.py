from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.data import load_npz
from nas_jax.errors import DataError


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    good: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (4, 3, 3, 3), np.uint8),
        "y_train": np.array([0, 1, 0, 1]),
        "x_test": rng.integers(0, 256, (2, 3, 3, 3), np.uint8),
        "y_test": np.array([1, 0]),
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def npz_bytes(**changes: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays(**changes))
    return buffer.getvalue()


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "images.npz"
    path.write_bytes(npz_bytes(**changes))
    return path


def test_arrays_come_back_as_saved(tmp_path: Path) -> None:
    dataset = load_npz(write(tmp_path, classes=np.array(["cat", "dog"])))
    np.testing.assert_array_equal(dataset.x_train, arrays()["x_train"])
    np.testing.assert_array_equal(dataset.y_test, [1, 0])
    assert dataset.class_names == ("cat", "dog")


def test_grayscale_and_class_names_of_bytes(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        x_train=np.arange(36, dtype=np.uint8).reshape(4, 3, 3),
        x_test=np.zeros((2, 3, 3), np.uint8),
        classes=np.array([b"cat", b"dog"]),
    )
    dataset = load_npz(str(path))
    assert dataset.image_shape == (3, 3, 1)
    assert dataset.class_names == ("cat", "dog")


def test_a_missing_file_names_the_path_and_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz does not exist.*x_train, y_train"):
        load_npz(tmp_path / "none.npz")


def test_missing_arrays_are_listed_with_those_found(tmp_path: Path) -> None:
    path = write(tmp_path, y_train=None, x_test=None, extra=np.zeros(1))
    with pytest.raises(
        DataError, match=r"lacks y_train, x_test; it holds extra, x_train, y_test"
    ):
        load_npz(path)


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    images = np.empty(4, object)
    images[:] = list(arrays()["x_train"])
    path = write(tmp_path, x_train=images)
    with pytest.raises(DataError, match=r"x_train is an object array.*np\.stack"):
        load_npz(path)


@given(st.integers(0, len(npz_bytes()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, change: int
) -> None:
    content = bytearray(npz_bytes())
    content[position] ^= change
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    path.write_bytes(content)
    try:
        dataset = load_npz(path)
    except DataError as error:
        assert "changed.npz" in str(error)
    else:
        # Dates and attributes in the zip's headers may change, the arrays may not.
        np.testing.assert_array_equal(dataset.x_train, arrays()["x_train"])
