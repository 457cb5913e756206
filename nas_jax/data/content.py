"""What a data set is, whatever its name and place."""

from __future__ import annotations

import hashlib

import numpy as np

from nas_jax.data.dataset import Dataset


def content_sha256(dataset: Dataset) -> str:
    """SHA-256 of all images and labels, in their order, in hexadecimal."""
    hashed = hashlib.sha256()
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()
