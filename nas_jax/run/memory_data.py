"""Images of the sizes that a step is compiled for, without the images."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nas_jax.config import DataConfig
from nas_jax.data import Dataset
from nas_jax.errors import ConfigError
from nas_jax.paths import local_path
from nas_jax.run.images import load_images

Sizes = tuple[tuple[int, int, int], int, int]
"""Height, width and channels; number of classes; number of training images."""

# Published sizes of tfds data sets with images of one size.
_TFDS: dict[str, Sizes] = {
    "cifar10": ((32, 32, 3), 10, 50_000),
    "cifar100": ((32, 32, 3), 100, 50_000),
    "fashion_mnist": ((28, 28, 1), 10, 60_000),
    "imagenet_resized/32x32": ((32, 32, 3), 1000, 1_281_167),
    "imagenet_resized/64x64": ((64, 64, 3), 1000, 1_281_167),
    "kmnist": ((28, 28, 1), 10, 60_000),
    "mnist": ((28, 28, 1), 10, 60_000),
    "stl10": ((96, 96, 3), 10, 5_000),
    "svhn_cropped": ((32, 32, 3), 10, 73_257),
}


def sized_images(
    config: DataConfig, image_shape: str, num_classes: int, num_train: int
) -> Dataset:
    """A data set of the right sizes, whose images take no memory.

    Sizes are those given, else what is known of the source: of a tfds data set by its
    name, of an npz file by its labels and the head of its images. Digits, synthetic
    images and folders are loaded.

    Args:
        image_shape: `32x32x3`, or empty where it is not given.

    Raises:
        NasJaxError: The sizes cannot be had; the message says which flags give them.
    """
    shape = _shape(image_shape) if image_shape else None
    if not (shape and num_classes and num_train):
        known = _known(config)
        shape = shape or known[0]
        num_classes, num_train = num_classes or known[1], num_train or known[2]
    x = np.broadcast_to(np.zeros((), np.uint8), (num_train, *shape))
    y = np.broadcast_to(np.zeros((), np.int32), (num_train,))
    names = tuple(map(str, range(num_classes)))
    return Dataset(x, y, x, y, names, (0.0,) * shape[2], (1.0,) * shape[2])


def _shape(text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){2}", text):
        raise ConfigError(
            f"--image_shape is {text!r}: give height, width and channels, as in 32x32x3"
        )
    height, width, channels = map(int, text.split("x"))
    return height, width, channels


def _known(config: DataConfig) -> Sizes:
    if config.source == "tfds":
        # `cifar10:3.0.2` is a version of `cifar10`.
        sizes = _TFDS.get(config.name.partition(":")[0])
        if sizes is None:
            raise ConfigError(
                f"the sizes of the tfds data set {config.name!r} are not known here; "
                "give --image_shape=32x32x3 --num_classes=10 --num_train=50000 with "
                f"its own. Known are {', '.join(_TFDS)}"
            )
        return sizes
    if config.source == "npz" and (sizes := _npz_sizes(local_path(config.path))):
        return sizes
    images = load_images(config)
    return images.image_shape, images.num_classes, images.num_train


def _npz_sizes(file: Path) -> Sizes | None:
    """From the head of the images and the labels; None where the file looks odd."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open("x_train.npy") as stream:
            old = npy.read_magic(stream) == (1, 0)
            read = npy.read_array_header_1_0 if old else npy.read_array_header_2_0
            count, height, width, *channels = read(stream)[0]
        with np.load(file, allow_pickle=False) as arrays:
            found = arrays["classes" if "classes" in arrays.files else "y_train"]
            named = "classes" in arrays.files
        classes = len(found) if named else int(found.max()) + 1
        return (height, width, *(channels or [1])), classes, count  # type: ignore[return-value]
    # Whatever is wrong with it, the loader says it in its own words.
    except Exception:
        return None
