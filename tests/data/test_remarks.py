"""What is said of copies among images."""

from __future__ import annotations

import numpy as np

from nas_jax.data import Dataset, remarks, synthetic


def said(train: list[int], y: list[int], test: list[int], y_test: list[int]) -> str:
    """The remarks on images of one pixel."""
    x_train, x_test = (
        np.array(values, np.uint8).reshape(-1, 1, 1, 1) for values in (train, test)
    )
    names = ["cat", "dog"]
    dataset = Dataset.from_arrays(
        x_train, np.array(y), x_test, np.array(y_test), class_names=names
    )
    return "; ".join(remarks(dataset))


def test_nothing_is_said_of_different_images() -> None:
    assert remarks(synthetic(num_train=20, num_test=8)) == []
    # Nor of copies within a class, or of a class with one image.
    assert said([1, 1, 2, 5], [0, 0, 0, 1], [3, 4], [0, 1]) == ""
    assert said([1, 2], [0, 1], [3], [0]) == ""


def test_a_class_of_copies() -> None:
    found = said([1, 2, 5, 5, 5], [0, 0, 1, 1, 1], [3, 4], [0, 1])
    assert found == "all 3 training images of class 'dog' are equal"


def test_an_image_of_two_classes() -> None:
    found = said([1, 2, 1, 5], [0, 0, 1, 1], [3, 4], [0, 1])
    assert found.startswith("1 of 3 different training images stand in several")


def test_test_images_that_are_training_images() -> None:
    found = said([1, 2, 5, 6], [0, 0, 1, 1], [3, 6, 6], [0, 1, 1])
    assert found.startswith("2 of 3 test images are training images too")


def test_test_images_that_are_all_equal() -> None:
    found = said([1, 2, 5, 6], [0, 0, 1, 1], [3, 3], [0, 1])
    assert found.startswith("all 2 test images are equal")
