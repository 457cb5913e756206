"""Data sets prepared by TensorFlow Datasets, read without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from nas_jax.data.dataset import Dataset
from nas_jax.data.sources import register_source
from nas_jax.errors import DataError

_TEST_SPLITS = ("test", "validation")


def load_tfds(name: str, path: str = "") -> Dataset:
    """Loads an image classification data set that tfds has prepared on this disk.

    It is read through the random access of `tfds.data_source`, which needs no
    TensorFlow; nothing is downloaded. The split `train` is trained on, and `test`, or
    else `validation`, is tested on. All images must have the same size.

    Args:
      name: the tfds name, such as "cifar10" or "cifar10:3.0.2".

    Raises:
      DataError: tfds is not installed, or the data set is not prepared, cannot be
        read, or is not one of equally sized images with one label each.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            "the source 'tfds' needs the package tensorflow_datasets: install "
            "tensorflow-datasets and array_record."
        ) from error
    what = f"the tfds data set {name!r}"
    # tfds raises a type of its own for each of many causes; its messages can list all
    # its data sets, hence only the first line is shown.
    try:
        builder = tfds.builder(name, data_dir=path or None)
        is_prepared = builder.data_path.exists()
        splits = sorted(builder.info.splits) if is_prepared else []
        features = builder.info.features
        keys = builder.info.supervised_keys or ("image", "label")
    except Exception as error:
        raise DataError(
            f"{what} cannot be opened ({_first_line(error)}). Give a name that tfds "
            "knows, or one whose files lie under path (the data_dir of tfds)."
        ) from error
    if not is_prepared:
        raise DataError(
            f"{what} is not prepared: {builder.data_path} does not exist. Prepare it "
            f"once with tfds.builder({name!r}, file_format='array_record')"
            ".download_and_prepare(), or set path to the data_dir that holds it."
        )
    test_split = next((split for split in _TEST_SPLITS if split in splits), None)
    if "train" not in splits or test_split is None:
        raise DataError(
            f"{what} has the splits {', '.join(splits) or 'none'}. It needs 'train' "
            "and one of 'test' and 'validation': choose another data set."
        )
    class_names = None
    if len(keys) == 2 and all(key in features for key in keys):
        class_names = getattr(features[keys[1]], "names", None)
    if class_names is None:
        raise DataError(
            f"{what} has the features {', '.join(sorted(features))}. It must have an "
            "image and a class label: choose an image classification data set."
        )
    arrays: list[np.ndarray] = []
    for split in ("train", test_split):
        arrays += _stack(builder, split, keys, what)
    return Dataset.from_arrays(*arrays, class_names=class_names, where=what)


def _stack(
    builder: Any, split: str, keys: tuple[str, str], what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, H, W, C]` and labels `[N]` of one split."""
    image_key, label_key = keys
    try:
        source = builder.as_data_source(split=split)
        labels = np.empty(len(source), np.int32)
        images = np.empty((0, 0, 0, 0), np.uint8)
        for index in range(len(source)):
            example = source[index]
            image = np.asarray(example[image_key])
            if index == 0:
                images = np.empty((len(source), *image.shape), image.dtype)
            if image.shape != images.shape[1:]:
                raise DataError(
                    f"{what} has images of different sizes: {image.shape} and "
                    f"{images.shape[1:]}. Write them out as files and use the source "
                    "'folder' with image_size, which resizes them."
                )
            images[index] = image
            labels[index] = example[label_key]
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"the split {split!r} of {what} cannot be read ({_first_line(error)}). It "
            "must be prepared with file_format='array_record': prepare it again in a "
            "new data_dir."
        ) from error
    return images, labels


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


register_source(
    "tfds",
    load_tfds,
    title="a data set that TensorFlow Datasets prepared; path is its data_dir",
    needs={"name": "the name of a tfds data set, such as 'cifar10'"},
)
