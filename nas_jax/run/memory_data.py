"""What a compiled step needs to know about the images, without the images."""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from nas_jax import data
from nas_jax.config import DataConfig
from nas_jax.errors import ConfigError
from nas_jax.paths import local_path
from nas_jax.run.images import load_images

# Published sizes of tfds data sets with images of one size.
_TFDS = {
    "cifar10": ("32x32x3", 10, 50_000),
    "cifar100": ("32x32x3", 100, 50_000),
    "fashion_mnist": ("28x28x1", 10, 60_000),
    "imagenet_resized/32x32": ("32x32x3", 1000, 1_281_167),
    "imagenet_resized/64x64": ("64x64x3", 1000, 1_281_167),
    "kmnist": ("28x28x1", 10, 60_000),
    "mnist": ("28x28x1", 10, 60_000),
    "stl10": ("96x96x3", 10, 5_000),
    "svhn_cropped": ("32x32x3", 10, 73_257),
}


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """Sizes of a data set.

    Attributes:
        image_shape: Height, width and channels.
        num_classes: Number of classes.
        num_train: Number of training images, which lie on the device.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    num_train: int

    def dataset(self) -> data.Dataset:
        """A data set of this size whose images take no memory."""
        height, width, channels = self.image_shape
        pixel, label = np.zeros((), np.uint8), np.zeros((), np.int32)
        x = np.broadcast_to(pixel, (self.num_train, height, width, channels))
        y = np.broadcast_to(label, (self.num_train,))
        names = tuple(map(str, range(self.num_classes)))
        return data.Dataset(x, y, x, y, names, (0.0,) * channels, (1.0,) * channels)


def parse_shape(text: str) -> tuple[int, int, int]:
    """Height, width and channels from `32x32x3`.

    Raises:
        ConfigError: It is something else.
    """
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise ConfigError(
            f"--image_shape is {text!r}: give height, width and channels, as in 32x32x3"
        )
    return int(found[1]), int(found[2]), int(found[3])


def image_facts(
    config: DataConfig, image_shape: str, num_classes: int, num_train: int
) -> ImageFacts:
    """Sizes as given, else as known of the source, else of the loaded images.

    Of a tfds data set they are known by its name; of an npz file only the labels are
    read; digits, synthetic images and folders are loaded.

    Args:
        config: The images.
        image_shape: `32x32x3`, or empty where it is not given.
        num_classes: Number of classes; 0 where it is not given.
        num_train: Number of training images; 0 where it is not given.

    Raises:
        NasJaxError: The sizes cannot be had; the message says which flags give them.
    """
    shape = parse_shape(image_shape) if image_shape else None
    if shape and num_classes and num_train:
        return ImageFacts(shape, num_classes, num_train)
    known = _known(config)
    return ImageFacts(
        shape or known.image_shape,
        num_classes or known.num_classes,
        num_train or known.num_train,
    )


def _known(config: DataConfig) -> ImageFacts:
    if config.source == "tfds":
        # `cifar10:3.0.2` is a version of `cifar10`.
        name = config.name.partition(":")[0]
        if name not in _TFDS:
            raise ConfigError(
                f"the sizes of the tfds data set {config.name!r} are not known here; "
                "give --image_shape=32x32x3 --num_classes=10 --num_train=50000 with "
                f"its own. Known are {', '.join(_TFDS)}"
            )
        text, classes, count = _TFDS[name]
        return ImageFacts(parse_shape(text), classes, count)
    if config.source == "npz" and (facts := _npz_facts(local_path(config.path))):
        return facts
    images = load_images(config)
    return ImageFacts(images.image_shape, images.num_classes, images.num_train)


def _npz_facts(file: Path) -> ImageFacts | None:
    """From the head of the images and the labels; None where the file looks odd."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open("x_train.npy") as stream:
            version = npy.read_magic(stream)
            head = {
                (1, 0): npy.read_array_header_1_0,
                (2, 0): npy.read_array_header_2_0,
            }
            shape = head[version](stream)[0]
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            labels = arrays["y_train"]
            names = arrays["classes"] if "classes" in arrays.files else None
        count, height, width, *channels = shape
        classes = int(labels.max()) + 1 if names is None else len(names)
        return ImageFacts((height, width, *(channels or [1])), classes, count)  # type: ignore[arg-type]
    # Whatever is wrong with it, the loader says it in its own words.
    except Exception:
        return None
