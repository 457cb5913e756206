"""Strict JSON: what a result holds becomes plain values, and NaN becomes null."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

# Stands for a field that one side of a comparison lacks.
_ABSENT = object()


def to_jsonable(value: Any) -> Any:
    """Returns a value as strict JSON can hold it; NaN and infinities become None.

    NumPy and JAX scalars and arrays become numbers and nested lists, tuples and ranges
    become lists, dataclasses become objects, paths become text.

    Raises:
        TypeError: JSON has nothing for the value's type.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # float() also turns NumPy's float64, which is a float, into a plain one.
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): to_jsonable(member) for key, member in value.items()}
    if isinstance(value, list | tuple | range):
        return [to_jsonable(member) for member in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_jsonable(dataclasses.asdict(value))
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def dumps(value: Any, indent: int | None = None) -> str:
    """Returns a value as strict JSON text, on one line unless there is an indent."""
    return json.dumps(
        to_jsonable(value), indent=indent, allow_nan=False, ensure_ascii=False
    )


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Returns one line `path: old value, now new value` for each leaf that differs.

    Objects are compared key by key; anything else, lists too, as a whole.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in dict.fromkeys([*old, *new]):
            both = old.get(key, _ABSENT), new.get(key, _ABSENT)
            lines += differences(*both, f"{path}.{key}" if path else key)
        return lines
    lacking = old is _ABSENT or new is _ABSENT
    if not lacking and to_jsonable(old) == to_jsonable(new):
        return []
    return [f"{path}: {_shown(old)}, now {_shown(new)}"]


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} of an object is not a text")
    return key


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else dumps(value)
