"""Images that are made: they cost no download and can be learned."""

from __future__ import annotations

import numpy as np

from nas_jax.data._random import Stream, generator
from nas_jax.data.dataset import Dataset
from nas_jax.data.sources import register_source
from nas_jax.errors import DataError

_SIZE = 32
# Pattern and noise add up to at most 255, so uint8 sums never wrap around.
_PATTERN_LEVELS, _NOISE_LEVELS = 160, 96
_PATTERN_CELLS = 4


def synthetic(
    num_train: int = 512,
    num_test: int = 256,
    num_classes: int = 10,
    image_size: int = 0,
    channels: int = 3,
    seed: int = 0,
) -> Dataset:
    """Makes images that a network can learn: a pattern for each class, and noise.

    A pattern is 4x4 random patches with values 0 to 159; uniform noise of 0 to 95 is
    added to every pixel. Classes are equally frequent, within one image.

    Args:
      image_size: height and width; 0 stands for 32.

    Raises:
      DataError: an argument is out of range.
    """
    image_size = image_size or _SIZE
    for key, value, least in (
        ("num_classes", num_classes, 2),
        ("num_train", num_train, num_classes),
        ("num_test", num_test, 1),
        ("image_size", image_size, 1),
        ("channels", channels, 1),
    ):
        if value < least:
            reason = " (one image of each class)" if key == "num_train" else ""
            raise DataError(
                f"{key}={value}: synthetic data needs at least {least}{reason}."
            )
    rng = generator(seed, Stream.SYNTHETIC)
    cells = (num_classes, _PATTERN_CELLS, _PATTERN_CELLS, channels)
    patterns = rng.integers(0, _PATTERN_LEVELS, cells, np.uint8)
    repeats = -(-image_size // _PATTERN_CELLS)
    patterns = patterns.repeat(repeats, axis=1).repeat(repeats, axis=2)
    patterns = patterns[:, :image_size, :image_size]
    arrays = []
    for count in (num_train, num_test):
        labels = rng.permutation(np.arange(count, dtype=np.int32) % num_classes)
        shape = (count, image_size, image_size, channels)
        noise = rng.integers(0, _NOISE_LEVELS, shape, np.uint8)
        arrays += [patterns[labels] + noise, labels]
    return Dataset.from_arrays(*arrays, where="synthetic data")


register_source(
    "synthetic", synthetic, title="a pattern for each class, and noise, made on demand"
)
