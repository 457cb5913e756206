"""What labels are: class numbers, one an image."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.errors import DataError


def check_labels(
    value: Any, what: str, num_images: int | None = None, images: str = "the images"
) -> np.ndarray:
    """Labels as `[N]` integers that are not negative, of integers `[N]` or `[N, 1]`.

    Raises:
      DataError: they are of another type, shape or number, or one is negative.
    """
    labels = np.asarray(value)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{what} has dtype {labels.dtype}. Labels must be integers 0 to K-1: save "
            "y.astype(np.int32)."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{what} has shape {labels.shape}. Labels must be [N], one class number "
            "an image: for one-hot labels use y.argmax(axis=1)."
        )
    if num_images is not None and len(labels) != num_images:
        raise DataError(
            f"{what} has {len(labels)} labels but {images} has {num_images} images. "
            "Give one label for each image; images come first in the shape, "
            "[N, H, W, C]."
        )
    if not labels.size:
        raise DataError(f"{what} is empty. Give at least one label.")
    if labels.min() < 0:
        raise DataError(
            f"{what} holds the negative label {labels.min()}. Labels must be 0 to "
            "K-1: remove unlabelled images or renumber the classes."
        )
    return labels


def check_batch_labels(labels: Any, images: int, num_classes: int) -> None:
    """Refuses what are no class numbers of a batch, as far as its values are known.

    Under a trace only shape and type are.

    Raises:
      DataError: they are not `[images]` integers from 0 to `num_classes - 1`.
    """
    if np.shape(labels) != (images,):
        raise DataError(
            f"labels have shape {np.shape(labels)} for {images} images; they must be "
            f"[{images}], one class number each: of one-hot labels, give "
            "labels.argmax(-1)"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise DataError(
            f"labels have dtype {labels.dtype}; they must be integers, class numbers"
        )
    if not isinstance(labels, jax.core.Tracer):
        check_classes(np.asarray(labels), num_classes)


def check_classes(labels: np.ndarray, num_classes: int) -> None:
    """Refuses labels `[N]` of classes that a network does not have.

    Raises:
      DataError: one is not from 0 to `num_classes - 1`.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= num_classes:
        raise DataError(
            f"labels go from {low} to {high}, but the network has {num_classes} "
            f"classes; labels must be 0 to {num_classes - 1}"
        )
