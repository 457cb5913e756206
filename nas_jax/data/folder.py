"""Data sets from folders of image files, one folder for each class."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from nas_jax.data.dataset import Dataset, all_equal
from nas_jax.data.sources import register_source
from nas_jax.data.split import stratified_split
from nas_jax.errors import DataError
from nas_jax.paths import local_path

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_LAYOUTS = (
    "Allowed are PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png"
)

_FLATTEN = (
    "Flatten the images first, onto a background of another colour than what they "
    "show, such as with ImageMagick: magick mogrify -background white -alpha remove "
    "-alpha off *.png"
)

_ClassFiles = dict[str, list[Path]]


def load_folder(
    path: str | os.PathLike[str],
    image_size: int = 0,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Loads a folder of image files, one folder for each class.

    The layout is `path/train/CLASS/*` with `path/test/CLASS/*`, or `path/CLASS/*`,
    which is split by `test_fraction`, class by class. Classes are numbered in the
    order of their names. Images may be PNG, JPEG, BMP, WebP or GIF (first frame).
    They get 3 channels (RGB), or 1 if every image is grayscale. The orientation noted
    by a camera is applied. Hidden files are skipped.

    An alpha channel is dropped, as torchvision's ImageFolder does: opaque images lose
    nothing by it, and of others the colours are read that are stored under transparent
    pixels. No background is made up for them: on black, black shapes would vanish, on
    white, white ones. A log line counts such images.

    Args:
      image_size: resize every image to a square of this many pixels, without keeping
        its aspect ratio; 0 leaves the images as they are, equal in size already.

    Raises:
      DataError: the folder is missing or has another layout, an image is damaged,
        of another format or of another size, or all training images are equal.
    """
    if image_size < 0:
        raise DataError(
            f"image_size={image_size}: it must be 0 (keep the size) or a number of "
            "pixels, such as 32."
        )
    root = local_path(path)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}. Give a folder of images. {_LAYOUTS}.")
    has_parts = [_has_folders(root / part) for part in ("train", "test")]
    if any(has_parts):
        if not all(has_parts):
            present, absent = ("train", "test") if has_parts[0] else ("test", "train")
            raise DataError(
                f"{root} has class folders in {present}/ but not in {absent}/. Add "
                f"{absent}/ (rename val/ if that is its name), or move the class "
                f"folders of {present}/ up to {root} to split them by test_fraction."
            )
        train = _class_files(root / "train", at_least=2)
        test = _class_files(root / "test", at_least=1)
        unknown = sorted(test.keys() - train.keys())
        if unknown:
            raise DataError(
                f"{root / 'test'} has class folders that train/ lacks: "
                f"{', '.join(unknown)}. Allowed are {', '.join(train)}: add training "
                "images or remove the folders."
            )
    else:
        classes = _class_files(root, at_least=2)
        train, test = _split_classes(classes, test_fraction, seed)
    return _decode(train, test, image_size, root)


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in _entries(folder))


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")


def _class_files(folder: Path, at_least: int) -> _ClassFiles:
    entries = _entries(folder)
    for entry in entries:
        if entry.suffix.lower() in _SUFFIXES and not entry.is_dir():
            raise DataError(
                f"{entry} lies beside the class folders, so its class is unknown. "
                f"{_LAYOUTS}: move it into the folder of its class."
            )
    classes = [entry for entry in entries if entry.is_dir()]
    if len(classes) < at_least:
        found = ", ".join(entry.name for entry in classes) or "none"
        raise DataError(
            f"{folder} needs at least {at_least} class folders; found: {found}. "
            f"{_LAYOUTS}."
        )
    return {entry.name: _image_files(entry) for entry in classes}


def _image_files(class_folder: Path) -> list[Path]:
    files = _entries(class_folder)
    if not files:
        raise DataError(
            f"the class folder {class_folder} is empty. Add images or remove it."
        )
    for file in files:
        if file.suffix.lower() not in _SUFFIXES or not file.is_file():
            raise DataError(
                f"{file} is not an image file. A class folder may hold only files "
                f"that end in {', '.join(_SUFFIXES)}: move or remove it."
            )
    return files


def _split_classes(
    classes: _ClassFiles, test_fraction: float, seed: int
) -> tuple[_ClassFiles, _ClassFiles]:
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(
                f"the class folder {files[0].parent} has only 1 image; a split by "
                "test_fraction needs at least 2 of each class. Add images or remove "
                f"the class {name!r}."
            )
    labels = np.repeat(np.arange(len(classes)), [len(f) for f in classes.values()])
    _, test_indices = stratified_split(labels, test_fraction, seed)
    is_test = iter(np.isin(np.arange(len(labels)), test_indices))
    parts: tuple[_ClassFiles, _ClassFiles] = ({}, {})
    for name, files in classes.items():
        for part in parts:
            part[name] = []
        for file in files:
            parts[next(is_test)][name].append(file)
    return parts


def _decode(
    train: _ClassFiles, test: _ClassFiles, image_size: int, root: Path
) -> Dataset:
    names = list(train)
    arrays = []
    all_files = [file for part in (train, test) for fs in part.values() for file in fs]
    # Opening a file reads only its header, so this pass is cheap. It runs over every
    # file, so that a wrong one is found before the slow pass.
    is_gray = all([_is_grayscale(file) for file in all_files])
    first, _ = _read_image(all_files[0], is_gray, image_size)
    transparent = 0
    for part in (train, test):
        files = [file for name in part for file in part[name]]
        images = np.empty((len(files), *first.shape), np.uint8)
        for index, file in enumerate(files):
            image, has_transparency = _read_image(file, is_gray, image_size)
            transparent += has_transparency
            if image.shape != first.shape:
                raise DataError(
                    f"{file} has {_size(image)} pixels but {all_files[0]} has "
                    f"{_size(first)}. With image_size=0 all images must be equal in "
                    "size: set image_size, such as 32, to resize them."
                )
            images[index] = image
        labels = [names.index(name) for name in part for _ in part[name]]
        arrays += [images, np.array(labels, np.int32)]
    if transparent:
        some = f"{transparent} of {len(all_files)} images are partly transparent"
        if all_equal(arrays[0]):
            raise DataError(
                f"{root}: all {len(arrays[0])} training images are equal, because "
                f"their content lies in the alpha channel, which is dropped: {some}. "
                f"{_FLATTEN}."
            )
        logging.warning(
            f"{root}: {some}. The alpha channel is dropped, so the colours that are "
            "stored under transparent pixels are read. If these mean nothing: "
            f"{_FLATTEN}"
        )
    return Dataset.from_arrays(*arrays, class_names=names, where=str(root))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]} (rows x columns)"


def _is_grayscale(file: Path) -> bool:
    with _opened(file) as image:
        if image.mode in _WIDE_MODES:
            raise DataError(
                f"{file} has more than 8 bits a channel (mode {image.mode}). Images "
                "must have 8 bits a channel: convert it."
            )
        return image.mode in ("1", "L", "LA")


def _read_image(file: Path, is_gray: bool, image_size: int) -> tuple[np.ndarray, bool]:
    """One image as uint8 `[H, W, C]`, and whether any of its pixels is transparent."""
    with _opened(file) as image:
        has_transparency = _is_transparent(image)
        upright = ImageOps.exif_transpose(image)
        # Left in, it makes Pillow warn about palettes and change single colours.
        upright.info.pop("transparency", None)
        pixels = upright.convert("L" if is_gray else "RGB")
        if image_size:
            pixels = pixels.resize((image_size, image_size), Image.Resampling.BILINEAR)
        array = np.asarray(pixels)
    return array[..., np.newaxis] if is_gray else array, has_transparency


def _is_transparent(image: Image.Image) -> bool:
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return False
    return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    # Pillow's decoders raise many types on damaged bytes (OSError, SyntaxError,
    # ValueError, struct.error, zlib.error, DecompressionBombError, ...).
    try:
        with Image.open(file, formats=_FORMATS) as image:
            yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{file} cannot be read as an image ({type(error).__name__}: {error}). It "
            f"is damaged, cut off or none of {', '.join(_FORMATS)}: replace or remove "
            "it."
        ) from error


register_source(
    "folder",
    load_folder,
    title="image files, a folder for each class; image_size resizes them",
    needs={"path": "the path of a folder of images"},
)
