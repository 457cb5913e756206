"""The one data set type: uint8 images and int32 labels in memory, checked once.

Shape legend: N examples, H rows, W columns, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas_jax.data.labels import check_labels
from nas_jax.errors import DataError

_PIXELS_AT_ONCE = 1 << 20
_LIKELY_CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """An image classification data set in memory. Build it with `from_arrays`.

    Attributes:
      x_train: uint8 `[N, H, W, C]`, values 0 to 255, read-only.
      y_train: int32 `[N]`, values 0 to K-1, every class present, read-only.
      x_test: uint8 `[M, H, W, C]`.
      y_test: int32 `[M]`.
      class_names: K names, in label order.
      mean: mean of each channel of `x_train`, in units of [0, 1].
      std: standard deviation of each channel of `x_train`, in units of [0, 1].
        A constant channel has 1, so that it normalises to zero.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of every image."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.class_names)

    @property
    def num_train(self) -> int:
        """The number of training images."""
        return len(self.x_train)

    @property
    def num_test(self) -> int:
        """The number of test images."""
        return len(self.x_test)

    @functools.cached_property
    def train_digests(self) -> list[bytes]:
        """A hash of each training image; copies of one image share it."""
        return image_digests(self.x_train)

    @functools.cached_property
    def distinct(self) -> np.ndarray:
        """Indices `[D]` of training images without copies, ascending."""
        first: dict[bytes, int] = {}
        for index, digest in enumerate(self.train_digests):
            first.setdefault(digest, index)
        return np.fromiter(first.values(), np.int64, len(first))

    @classmethod
    def from_arrays(
        cls,
        x_train: Any,
        y_train: Any,
        x_test: Any,
        y_test: Any,
        *,
        class_names: Sequence[str] | None = None,
        where: str = "arrays",
    ) -> Dataset:
        """Checks arrays and makes a data set of them.

        Args:
          x_train: uint8 `[N, H, W, C]`, or `[N, H, W]` for one channel.
          y_train: integers `[N]` or `[N, 1]`, classes 0 to K-1.
          where: what to call these arrays in an error, such as a file's name.

        Raises:
          DataError: an array has the wrong type, shape or values, or all training
            images are equal.
        """
        train_images = _check_images(x_train, f"{where}: x_train")
        test_images = _check_images(x_test, f"{where}: x_test")
        if train_images.shape[1:] != test_images.shape[1:]:
            raise DataError(
                f"{where}: x_train has images of shape {train_images.shape[1:]} and "
                f"x_test of shape {test_images.shape[1:]}. They must be equal: resize "
                "or convert one of them."
            )
        count, what = len(train_images), f"{where}: y_train"
        train_labels = check_labels(y_train, what, count, "x_train")
        count, what = len(test_images), f"{where}: y_test"
        test_labels = check_labels(y_test, what, count, "x_test")
        if class_names is None:
            num_classes, given_by = int(train_labels.max()) + 1, "labels of y_train"
        else:
            num_classes, given_by = len(class_names), "class names"
        _check_classes(train_labels, test_labels, num_classes, given_by, where)
        if all_equal(train_images):
            raise DataError(
                f"{where}: all {len(train_images)} images of x_train are equal, so "
                "there is nothing to learn. Look at how they were made: what told them "
                "apart may have been lost, such as an alpha channel."
            )
        names = range(num_classes) if class_names is None else class_names
        return cls(
            _read_only(train_images),
            _read_only(train_labels.astype(np.int32)),
            _read_only(test_images),
            _read_only(test_labels.astype(np.int32)),
            tuple(map(str, names)),
            *channel_statistics(train_images),
        )


def image_digests(images: np.ndarray) -> list[bytes]:
    """A hash of each image `[N, H, W, C]`, of 128 bits; equal images have equal ones.

    50,000 images of CIFAR-10 take 0.3 s.
    """
    return [
        hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for image in images
    ]


def all_equal(images: np.ndarray) -> bool:
    """Whether there are several images `[N, H, W, C]`, each a copy of the first."""
    return len(images) > 1 and all(np.array_equal(i, images[0]) for i in images[1:])


def content_sha256(dataset: Dataset) -> str:
    """SHA-256 of all images and labels, in their order, in hexadecimal."""
    hashed = hashlib.sha256()
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def channel_statistics(
    images: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images, in [0, 1] units.

    Sums are exact integers, so the result does not depend on the order of images.

    Returns:
      Two tuples of C floats. The deviation of a constant channel is given as 1.

    Raises:
      DataError: the images are not uint8; those of floats would be cut to integers.
    """
    if images.dtype != np.uint8:
        raise DataError(
            f"images have dtype {images.dtype}; their statistics are those of uint8. "
            f"{_dtype_remedy(images)}"
        )
    pixels = images.reshape(-1, images.shape[-1])
    total = np.zeros(images.shape[-1], np.int64)
    total_of_squares = np.zeros_like(total)
    for start in range(0, len(pixels), _PIXELS_AT_ONCE):
        chunk = pixels[start : start + _PIXELS_AT_ONCE].astype(np.int64)
        total += chunk.sum(axis=0)
        total_of_squares += np.square(chunk).sum(axis=0)
    mean = total / len(pixels)
    variance = np.maximum(total_of_squares / len(pixels) - mean**2, 0.0)
    is_constant = total_of_squares * len(pixels) == total**2
    std = np.where(is_constant, 255.0, np.sqrt(variance))
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _check_images(value: Any, what: str) -> np.ndarray:
    images = np.asarray(value)
    if images.dtype != np.uint8:
        raise DataError(
            f"{what} has dtype {images.dtype}. Images must be uint8 with values 0 to "
            f"255. {_dtype_remedy(images)}"
        )
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4:
        raise DataError(
            f"{what} has shape {images.shape}. Images must be [N, H, W, C], or "
            "[N, H, W] for one channel: reshape the array."
        )
    if images.size == 0:
        raise DataError(
            f"{what} is empty: its shape is {images.shape}. Give at least one image."
        )
    if (
        images.shape[1] in _LIKELY_CHANNELS
        and images.shape[3] not in _LIKELY_CHANNELS
        and images.shape[2] == images.shape[3]
    ):
        raise DataError(
            f"{what} has shape {images.shape}, which looks like [N, C, H, W]. Channels "
            "must come last: use x.transpose(0, 2, 3, 1)."
        )
    return np.ascontiguousarray(images)


def _dtype_remedy(images: np.ndarray) -> str:
    if images.dtype.kind == "f" and images.size:
        low, high = float(images.min()), float(images.max())
        remedy = "undo any normalisation and save the original bytes with x"
        if 0.0 <= low and high <= 1.0:
            remedy = "save np.round(x * 255)"
        return f"The values lie in [{low:g}, {high:g}]: {remedy}.astype(np.uint8)."
    if images.dtype.kind in "iu":
        return "If the values lie in 0 to 255, save x.astype(np.uint8)."
    return "Stack the images into one array: np.stack(list(x)).astype(np.uint8)."


def _check_classes(
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    num_classes: int,
    given_by: str,
    where: str,
) -> None:
    if num_classes < 2:
        raise DataError(
            f"{where}: found {num_classes} class; classification needs at least 2. "
            "Add images of another class."
        )
    for part, labels in (("train", train_labels), ("test", test_labels)):
        if labels.max() >= num_classes:
            raise DataError(
                f"{where}: y_{part} holds the label {labels.max()}. Labels must be 0 "
                f"to {num_classes - 1}, for the {num_classes} classes given by the "
                f"{given_by}: renumber the labels or give every class a name and "
                "training images."
            )
    present = np.unique(train_labels)
    if len(present) != num_classes:
        # Absent labels are at most len(present) + 9 among the first ten of them.
        candidates = np.arange(min(num_classes, len(present) + 10))
        absent = np.setdiff1d(candidates, present)
        shown = ", ".join(str(label) for label in absent[:10])
        hint = "If labels start at 1, subtract 1. " if absent[0] == 0 else ""
        raise DataError(
            f"{where}: {num_classes - len(present)} of {num_classes} classes are never "
            f"present in y_train: {shown}. {hint}Every class needs training images: "
            "add some, or renumber the labels without gaps."
        )


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
