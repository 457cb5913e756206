"""The embedded data set: scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np

from nas_jax.data.dataset import Dataset
from nas_jax.data.sources import register_source
from nas_jax.data.split import stratified_split
from nas_jax.errors import DataError


def load_digits(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Loads 1,797 real handwritten digits of 8x8 pixels, which scikit-learn ships.

    They are the test part of the UCI Optical Recognition of Handwritten Digits data.
    Values 0 to 16 are scaled to 0 to 255. The split is stratified.

    Raises:
      DataError: scikit-learn is not installed or an argument is out of range.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            "the source 'digits' needs the package scikit-learn: install it, or "
            "choose another source."
        ) from error
    digits = datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train, test = stratified_split(labels, test_fraction, seed)
    return Dataset.from_arrays(
        images[train], labels[train], images[test], labels[test], where="digits"
    )


register_source(
    "digits", load_digits, title="1,797 handwritten digits, 8x8, of scikit-learn"
)
