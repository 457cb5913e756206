from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets as sklearn_datasets

from nas_jax.data import load, load_digits, synthetic
from nas_jax.errors import DataError


def test_digits_are_the_real_images_scaled_to_bytes() -> None:
    dataset = load_digits()
    assert dataset.image_shape == (8, 8, 1)
    assert dataset.class_names == tuple("0123456789")
    # ceil(0.2 * 1797) = ceil(359.4) = 360.
    assert (dataset.num_train, dataset.num_test) == (1437, 360)
    original = sklearn_datasets.load_digits()
    # 16 becomes 255, 0 stays 0, and k becomes the integer nearest to k * 255 / 16.
    assert dataset.x_train.max() == 255
    expected = sorted(
        np.rint(image * 255 / 16).astype(np.uint8).tobytes() + bytes([label])
        for image, label in zip(original.images, original.target, strict=True)
    )
    found = sorted(
        image.tobytes() + bytes([label])
        for x, y in (
            (dataset.x_train, dataset.y_train),
            (dataset.x_test, dataset.y_test),
        )
        for image, label in zip(x, y.tolist(), strict=True)
    )
    assert found == expected


def test_digits_name_the_package_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match="needs the package scikit-learn"):
        load_digits()


def test_synthetic_has_the_sizes_asked_for() -> None:
    dataset = synthetic(
        num_train=25, num_test=7, num_classes=4, image_size=9, channels=2
    )
    assert dataset.image_shape == (9, 9, 2)
    # 25 images of 4 classes: one class has seven, the others six.
    assert sorted(np.bincount(dataset.y_train)) == [6, 6, 6, 7]
    assert (dataset.num_test, dataset.num_classes) == (7, 4)


def test_synthetic_classes_can_be_told_apart_in_unseen_images() -> None:
    dataset = synthetic(200, 100, 10, 16, 3)
    train = dataset.x_train.astype(np.float64)
    centres = np.stack([train[dataset.y_train == k].mean(axis=0) for k in range(10)])
    distances = np.square(dataset.x_test[:, None] - centres).sum(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == dataset.y_test).mean() > 0.95
    # The noise is there: no two images of a class are equal.
    assert len(np.unique(dataset.x_train.reshape(200, -1), axis=0)) == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "num_classes=1.*at least 2"),
        ({"num_train": 9}, "num_train=9.*at least 10 .one image of each class"),
        ({"num_test": 0}, "num_test=0.*at least 1"),
        ({"image_size": -1}, "image_size=-1.*at least 1"),
        ({"channels": 0}, "channels=0.*at least 1"),
        ({"seed": -1}, "seed=-1.*at least 0"),
    ],
)
def test_synthetic_refuses_impossible_sizes(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load("synthetic", **changes)


def test_load_passes_its_arguments_on(tmp_path: Path) -> None:
    digits = load("digits", test_fraction=0.5, seed=3)
    np.testing.assert_array_equal(digits.y_test, load_digits(0.5, 3).y_test)

    made = load("synthetic", num_train=6, num_test=4, num_classes=3, channels=1, seed=2)
    assert made.image_shape == (32, 32, 1)
    np.testing.assert_array_equal(made.x_test, synthetic(6, 4, 3, 32, 1, 2).x_test)
    assert load("synthetic", image_size=8).image_shape == (8, 8, 3)

    np.savez(
        tmp_path / "a.npz",
        x_train=made.x_train,
        y_train=made.y_train,
        x_test=made.x_test,
        y_test=made.y_test,
    )
    loaded = load("npz", path=str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(loaded.x_train, made.x_train)

    for label, number in ((0, 0), (0, 1), (1, 2), (1, 3)):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(folder / f"{number}.png")
    images = load(
        "folder", path=str(tmp_path / "images"), image_size=2, test_fraction=0.5
    )
    assert images.image_shape == (2, 2, 1)
    assert (images.num_train, images.num_test) == (2, 2)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            "cifar10",
            {},
            "'cifar10' is unknown. Choose one of digits, folder, npz, synthetic, tfds",
        ),
        ("npz", {}, "source='npz' needs path.*path of an .npz file"),
        ("folder", {}, "source='folder' needs path.*folder of images"),
        ("tfds", {}, "source='tfds' needs name.*'cifar10'"),
        (
            "digits",
            {"path": "a.npz"},
            "path='a.npz' has no meaning for source='digits'.*folder, npz, tfds",
        ),
        ("npz", {"path": "a.npz", "name": "mnist"}, "name='mnist' has no .*: tfds"),
        ("npz", {"path": "a.npz", "colour": 1}, "no source has colour; allowed: path"),
        ("digits", {"image_size": 32}, "image_size=32 has no .*: folder, synthetic"),
    ],
)
def test_load_refuses_options_that_do_not_fit(
    source: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(source, **options)
