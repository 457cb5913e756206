from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas_jax.data import Dataset
from nas_jax.data.dataset import channel_statistics
from nas_jax.errors import DataError


def arrays(**changes: Any) -> dict[str, Any]:
    """Two classes, three training and two test images of 2x2 pixels."""
    good: dict[str, Any] = {
        "x_train": np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1),
        "y_train": np.array([0, 1, 1]),
        "x_test": np.zeros((2, 2, 2, 1), np.uint8),
        "y_test": np.array([1, 0]),
    }
    return good | changes


def test_a_good_data_set_keeps_its_values_and_knows_its_sizes() -> None:
    dataset = Dataset.from_arrays(**arrays(), class_names=["cat", "dog"])
    assert dataset.image_shape == (2, 2, 1)
    assert (dataset.num_train, dataset.num_test, dataset.num_classes) == (3, 2, 2)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int32
    np.testing.assert_array_equal(dataset.x_train.ravel(), np.arange(12))
    np.testing.assert_array_equal(dataset.y_test, [1, 0])


def test_arrays_are_read_only_and_the_callers_stay_writable() -> None:
    given_arrays = arrays()
    dataset = Dataset.from_arrays(**given_arrays)
    with pytest.raises(ValueError, match="read-only"):
        dataset.x_train[0] = 0
    given_arrays["x_train"][0] = 0


def test_grayscale_without_channel_axis_gets_one() -> None:
    changed = arrays(
        x_train=np.arange(30, dtype=np.uint8).reshape(3, 2, 5),
        x_test=np.zeros((2, 2, 5), np.uint8),
    )
    assert Dataset.from_arrays(**changed).image_shape == (2, 5, 1)


def test_statistics_by_hand() -> None:
    # Channel 0 holds 0 and 255: in [0, 1] units 0 and 1, mean 1/2, deviation 1/2.
    # Channel 1 holds 51 and 102: 0.2 and 0.4, mean 0.3, deviation 0.1.
    # Channel 2 holds 7 twice: mean 7/255, constant, hence deviation 1.
    images = np.array([[[[0, 51, 7], [255, 102, 7]]]], np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, [0.5, 0.3, 7 / 255], rtol=1e-12)
    np.testing.assert_allclose(std, [0.5, 0.1, 1.0], rtol=1e-12)


def test_statistics_agree_with_numpy_over_several_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nas_jax.data.dataset._PIXELS_AT_ONCE", 7)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 2), np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)


BAD_IMAGES = {
    "float in 0..1": (
        lambda x: (x / 255).astype(np.float32),
        r"x_train has dtype float32.*uint8.*np.round\(x \* 255\).astype\(np.uint8\)",
    ),
    "float in 0..255": (
        lambda x: x.astype(np.float64),
        r"dtype float64.*\[0, 11\].*undo any normalisation",
    ),
    "wide integers": (
        lambda x: x.astype(np.int64),
        r"dtype int64.*save x\.astype\(np\.uint8\)",
    ),
    "objects": (lambda x: x.astype(object), r"dtype object.*np\.stack"),
    "rows of pixels": (
        lambda x: x.reshape(3, 4),
        r"shape \(3, 4\).*\[N, H, W, C\].*reshape",
    ),
    "no images": (lambda x: x[:0], r"x_train is empty.*\(0, 2, 2, 1\)"),
    "channels first": (
        lambda x: np.zeros((3, 3, 8, 8), np.uint8),
        r"looks like \[N, C, H, W\].*transpose\(0, 2, 3, 1\)",
    ),
    "another size than the test images": (
        lambda x: x[:, :1],
        r"x_train has images of shape \(1, 2, 1\) and x_test of shape \(2, 2, 1\)",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_wrong_images_are_refused(
    change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    good = arrays()
    with pytest.raises(DataError, match=rf"^here: {message}|^here: .*{message}"):
        Dataset.from_arrays(
            **(good | {"x_train": change(good["x_train"])}), where="here"
        )


BAD_LABELS = {
    "floats": (
        {"y_train": np.array([0.0, 1.0, 1.0])},
        r"y_train has dtype float64.*integers 0 to K-1.*astype\(np\.int32\)",
    ),
    "one-hot": (
        {"y_train": np.eye(3, dtype=np.int64)},
        r"y_train has shape \(3, 3\).*argmax\(axis=1\)",
    ),
    "too few": (
        {"y_train": np.array([0, 1])},
        r"y_train has 2 labels but x_train has 3 images",
    ),
    "negative": ({"y_test": np.array([1, -1])}, r"y_test holds the negative label -1"),
    "too large in test": (
        {"y_test": np.array([1, 2])},
        r"y_test holds the label 2.*must be 0 to 1.*2 classes.*labels of y_train",
    ),
    "too large for the names": (
        {"y_train": np.array([0, 1, 2]), "class_names": ["a", "b"]},
        r"y_train holds the label 2.*must be 0 to 1.*2 classes.*class names",
    ),
    "one class": (
        {"y_train": np.array([0, 0, 0]), "y_test": np.array([0, 0])},
        r"found 1 class; classification needs at least 2",
    ),
    "a gap": (
        {"y_train": np.array([0, 3, 1])},
        r"1 of 4 classes are never present in y_train: 2\. Every class",
    ),
    "labels from 1": (
        {"y_train": np.array([1, 2, 1])},
        r"1 of 3 classes .* y_train: 0\. If labels start at 1, subtract 1",
    ),
    "a label that would need huge memory": (
        {"y_train": np.array([0, 1, 10**12])},
        # 10**12 + 1 classes, three of them present; the first ten absent are shown.
        r"999999999998 of 1000000000001 classes .* 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\.",
    ),
}


@pytest.mark.parametrize(("changes", "message"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_wrong_labels_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"^here: .*{message}|^here: {message}"):
        Dataset.from_arrays(**arrays(**changes), where="here")


def test_statistics_of_floats_are_refused() -> None:
    with pytest.raises(DataError, match="dtype float64; their statistics are those of"):
        channel_statistics(np.full((1, 2, 2, 1), 0.5))


def test_images_that_are_all_equal_are_refused() -> None:
    same = np.broadcast_to(np.arange(4, dtype=np.uint8), (3, 4)).reshape(3, 2, 2, 1)
    with pytest.raises(DataError, match="^here: all 3 images of x_train are equal, so"):
        Dataset.from_arrays(**arrays(x_train=same), where="here")
    other = same.copy()
    other[2, 1, 1, 0] += 1
    assert Dataset.from_arrays(**arrays(x_train=other)).num_train == 3


def test_the_first_of_equal_images_are_told() -> None:
    dataset = Dataset.from_arrays(**arrays())
    np.testing.assert_array_equal(dataset.distinct, np.arange(3))
    numbers = np.array([7, 5, 7, 7, 9, 5], np.uint8).reshape(6, 1, 1, 1)
    labels = np.array([0, 1, 0, 0, 1, 1])
    copies = Dataset.from_arrays(numbers, labels, numbers, labels)
    np.testing.assert_array_equal(copies.distinct, [0, 1, 4])
    # Told once, however many batches are drawn.
    assert copies.distinct is copies.distinct
