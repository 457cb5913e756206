"""Data sets from one `.npz` file of arrays."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from nas_jax.data.dataset import Dataset
from nas_jax.data.sources import register_source
from nas_jax.errors import DataError
from nas_jax.paths import local_path

_REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """Loads a data set from an `.npz` file, as `np.savez` writes it.

    The file holds `x_train` and `x_test`, uint8 `[N, H, W, C]` or `[N, H, W]`, and
    `y_train` and `y_test`, integers `[N]` from 0 to K-1. An array `classes` of K
    strings is optional. Pickled arrays are never loaded.

    Raises:
      DataError: the file is missing, damaged, lacks an array or holds a wrong one.
    """
    file = local_path(path)
    if file.is_dir():
        raise DataError(
            f"{file} is a folder, not an .npz file. Use the source 'folder' for a "
            "folder of images."
        )
    if not file.exists():
        raise DataError(
            f"{file} does not exist. Give the path of an .npz file with the arrays "
            f"{', '.join(_REQUIRED)}."
        )
    if not zipfile.is_zipfile(file):
        raise DataError(
            f"{file} is not a complete .npz file: it is of another format, or it was "
            "cut off while it was copied. Copy it again, or write it with "
            "np.savez_compressed."
        )
    arrays = _read_arrays(file)
    classes = arrays.get("classes")
    return Dataset.from_arrays(
        *(arrays[key] for key in _REQUIRED),
        class_names=None if classes is None else _class_names(classes, file),
        where=str(file),
    )


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    arrays = {}
    key = "its table of contents"
    # A damaged zip file raises a dozen types (BadZipFile, zlib.error, struct.error,
    # EOFError, NotImplementedError, tokenize.TokenError, MemoryError, ...).
    try:
        # Given a name, np.load leaves the file open when the archive is damaged.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = [name for name in _REQUIRED if name not in archive.files]
            if missing:
                found = ", ".join(sorted(archive.files)) or "nothing"
                raise DataError(
                    f"{file} lacks {', '.join(missing)}; it holds {found}. An .npz "
                    f"data set needs {', '.join(_REQUIRED)} and may have 'classes': "
                    "write it with np.savez_compressed(path, x_train=...)."
                )
            for key in (*_REQUIRED, "classes"):
                if key in archive.files:
                    arrays[key] = archive[key]
    except DataError:
        raise
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{file}: {key} is an object array, which only pickle could read. "
                "Pickle is never loaded: save plain arrays, images as "
                "np.stack(list(x)).astype(np.uint8)."
            ) from error
        raise DataError(
            f"{file}: {key} cannot be read ({type(error).__name__}: {error}). The file "
            "is damaged or too big for memory: copy or write it again."
        ) from error
    return arrays


def _class_names(classes: np.ndarray, file: Path) -> list[str]:
    if classes.ndim != 1 or classes.dtype.kind not in "US":
        raise DataError(
            f"{file}: classes has dtype {classes.dtype} and shape {classes.shape}. It "
            "must be a list of K strings: save np.array(['cat', 'dog'])."
        )
    if classes.dtype.kind == "S":
        classes = np.char.decode(classes, "utf-8", "replace")
    return classes.tolist()


register_source(
    "npz",
    load_npz,
    title="arrays of one .npz file",
    needs={"path": "the path of an .npz file"},
)
