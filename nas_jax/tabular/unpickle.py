"""Pickles of plain values, read without giving the file a way to run code.

A pickle names the functions that rebuild its objects: any name but a few ends the
reading before anything of that name is looked up.
"""

from __future__ import annotations

import bz2
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from nas_jax.errors import DataError
from nas_jax.paths import local_path

_CODE = re.compile(r"[fiu][1248]|b1")


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Reads a bzip2-compressed pickle of plain Python values.

    Lists, tuples, sets, dictionaries, `OrderedDict`, strings, bytes, numbers, booleans
    and None are read; a NumPy number becomes the Python number of its value.

    Raises:
      DataError: the file is missing, is not bzip2, is damaged, or holds anything else.
        The error names the file and what it asked for.
    """
    file = local_path(path)
    try:
        with bz2.open(file) as stream:
            return _PlainUnpickler(stream, file).load()
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{file} does not exist. Give the path of a file that is there."
        ) from error
    # A damaged pickle raises a dozen types (UnpicklingError, EOFError, KeyError,
    # IndexError, TypeError, UnicodeDecodeError, MemoryError, ...).
    except Exception as error:
        raise DataError(
            f"{file} cannot be read ({type(error).__name__}: {error}). It is not a "
            "bzip2-compressed pickle, or it was cut off while it was copied: download "
            "it again."
        ) from error


class _DType:
    """Stands for the dtype of a pickled NumPy number.

    NumPy's own dtype would take its whole state from the file.
    """

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], file: Path) -> None:
        super().__init__(stream)
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        # A pickle may set attributes of what it is given: on bound methods and built-in
        # types it can change nothing that is used.
        match f"{module}.{name}":
            case "collections.OrderedDict":
                return OrderedDict
            case "numpy.dtype":
                return self._dtype
            # NumPy 2 renamed the module; the official files are older.
            case "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar":
                return self._number
        raise DataError(
            f"{self._file} asks for {module}.{name}, which is not read: a pickle of "
            "such objects could run any code. Allowed: collections.OrderedDict and "
            "NumPy numbers, which is all that the official files without weights hold."
        )

    def _dtype(self, code: str, align: object, copy: object) -> _DType:
        if not isinstance(code, str) or _CODE.fullmatch(code) is None:
            raise DataError(
                f"{self._file} holds a NumPy value of dtype {code!r}; allowed: "
                "booleans, integers and floats."
            )
        return _DType(code)

    def _number(self, dtype: _DType, data: bytes) -> bool | int | float:
        if dtype.order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"byte order {dtype.order!r}")
        (number,) = np.frombuffer(data, np.dtype(dtype.order + dtype.code))
        value: bool | int | float = number.item()
        return value
