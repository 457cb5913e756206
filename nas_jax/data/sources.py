"""The sources of data by name: digits, npz, folder, tfds and synthetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nas_jax.data._random import Stream, generator
from nas_jax.data.dataset import Dataset
from nas_jax.data.folder import load_folder
from nas_jax.data.npz import load_npz
from nas_jax.data.split import stratified_split
from nas_jax.data.tfds import load_tfds
from nas_jax.errors import DataError

_USED_OPTIONS: dict[str, tuple[str, ...]] = {
    "digits": (),
    "npz": ("path",),
    "folder": ("path", "image_size"),
    "tfds": ("name", "path"),
    "synthetic": ("image_size",),
}
_NEEDED_OPTION = {"npz": "path", "folder": "path", "tfds": "name"}
_NEEDED_EXAMPLE = {
    "npz": "the path of an .npz file",
    "folder": "the path of a folder of images",
    "tfds": "the name of a tfds data set, such as 'cifar10'",
}
SOURCES = tuple(_USED_OPTIONS)

_SYNTHETIC_SIZE = 32
# Pattern and noise add up to at most 255, so uint8 sums never wrap around.
_PATTERN_LEVELS, _NOISE_LEVELS = 160, 96
_PATTERN_CELLS = 4


def load(
    source: str,
    *,
    path: str = "",
    name: str = "",
    image_size: int = 0,
    test_fraction: float = 0.2,
    seed: int = 0,
    num_train: int = 512,
    num_test: int = 256,
    num_classes: int = 10,
    channels: int = 3,
) -> Dataset:
    """Loads a data set from one of `SOURCES`.

    Args:
      source: one of `SOURCES`.
      path: npz: the file. folder: the folder. tfds: the data_dir, may be "".
      name: tfds: name of the data set.
      image_size: folder: resize to this square, 0 keeps the size. synthetic: the
        size, 0 stands for 32.
      test_fraction: digits, folder: share of the images to test on.
      seed: digits, folder: of the split. synthetic: of the images.
      num_train: synthetic: the number of training images.
      num_test: synthetic: the number of test images.
      num_classes: synthetic: the number of classes.
      channels: synthetic: the number of channels.

    Raises:
      DataError: the source is unknown, an argument is missing or does not belong to
        the source, or the data cannot be used.
    """
    if source not in _USED_OPTIONS:
        raise DataError(
            f"source={source!r} is unknown. Choose one of {', '.join(SOURCES)}."
        )
    # A path that is silently ignored would train on other data than the user thinks.
    given = {"path": path, "name": name, "image_size": image_size}
    for key, value in given.items():
        if value and key not in _USED_OPTIONS[source]:
            users = [other for other, used in _USED_OPTIONS.items() if key in used]
            raise DataError(
                f"{key}={value!r} has no meaning for source={source!r}. Leave it out, "
                f"or choose a source that uses it: {', '.join(users)}."
            )
    needed = _NEEDED_OPTION.get(source)
    if needed is not None and not given[needed]:
        raise DataError(
            f"source={source!r} needs {needed}, which is empty. "
            f"Give {_NEEDED_EXAMPLE[source]}."
        )
    loaders: dict[str, Callable[[], Dataset]] = {
        "digits": lambda: load_digits(test_fraction, seed),
        "npz": lambda: load_npz(path),
        "folder": lambda: load_folder(path, image_size, test_fraction, seed),
        "tfds": lambda: load_tfds(name, path),
        "synthetic": lambda: synthetic(
            num_train=num_train,
            num_test=num_test,
            num_classes=num_classes,
            image_size=image_size or _SYNTHETIC_SIZE,
            channels=channels,
            seed=seed,
        ),
    }
    return loaders[source]()


def load_digits(test_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Loads 1,797 real handwritten digits of 8x8 pixels, which scikit-learn ships.

    They are the test part of the UCI Optical Recognition of Handwritten Digits data.
    Values 0 to 16 are scaled to 0 to 255. The split is stratified.

    Args:
      test_fraction: share of the images to test on; 0.2 gives 360.
      seed: seed of the split, an integer of at least 0.

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


def synthetic(
    num_train: int = 512,
    num_test: int = 256,
    num_classes: int = 10,
    image_size: int = _SYNTHETIC_SIZE,
    channels: int = 3,
    seed: int = 0,
) -> Dataset:
    """Makes images that a network can learn: a pattern for each class, and noise.

    A pattern is 4x4 random patches with values 0 to 159; uniform noise of 0 to 95 is
    added to every pixel. Classes are equally frequent, within one image.

    Args:
      num_train: the number of training images, at least num_classes.
      num_test: the number of test images, at least 1.
      num_classes: the number of classes, at least 2.
      image_size: height and width, at least 1.
      channels: the number of channels, at least 1.
      seed: equal seeds and arguments give equal images; at least 0.

    Raises:
      DataError: an argument is out of range.
    """
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
