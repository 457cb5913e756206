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


def test_a_folder_points_to_the_source_for_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder.*source 'folder'"):
        load_npz(tmp_path)


def test_missing_arrays_are_listed_with_those_found(tmp_path: Path) -> None:
    path = write(tmp_path, y_train=None, x_test=None, extra=np.zeros(1))
    with pytest.raises(
        DataError, match=r"lacks y_train, x_test; it holds extra, x_train, y_test"
    ):
        load_npz(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    with pytest.raises(DataError, match="is not a complete .npz file"):
        load_npz(path)


def test_object_arrays_are_never_unpickled(tmp_path: Path) -> None:
    images = np.empty(4, object)
    images[:] = list(arrays()["x_train"])
    path = write(tmp_path, x_train=images)
    with pytest.raises(DataError, match=r"x_train is an object array.*np\.stack"):
        load_npz(path)


def test_class_names_must_be_strings(tmp_path: Path) -> None:
    path = write(tmp_path, classes=np.array([1, 2]))
    with pytest.raises(DataError, match=r"classes has dtype int64 .*K strings"):
        load_npz(path)


@given(st.integers(0, len(npz_bytes()) - 1))
def test_a_truncated_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "truncated.npz"
    path.write_bytes(npz_bytes()[:length])
    with pytest.raises(DataError, match="truncated.npz is not a complete .npz file"):
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


def test_real_cifar10_images_load(shared_data: Path) -> None:
    path = shared_data / "cifar10_subset" / "cifar10_subset.npz"
    if not path.exists():
        pytest.skip("needs cifar10_subset.npz in the shared data folder")
    dataset = load_npz(path)
    assert dataset.image_shape == (32, 32, 3)
    assert (dataset.num_train, dataset.num_test) == (10_000, 2_000)
    assert dataset.class_names[0] == "airplane" and dataset.class_names[9] == "truck"
    np.testing.assert_array_equal(np.bincount(dataset.y_train), [1_000] * 10)
    # The statistics of all 50,000 CIFAR-10 images, as DARTS uses them; a fifth of the
    # images, saved as JPEG, comes close.
    np.testing.assert_allclose(dataset.mean, [0.4914, 0.4822, 0.4465], atol=0.01)
    np.testing.assert_allclose(dataset.std, [0.2470, 0.2435, 0.2616], atol=0.01)
