"""Typed access to JSON artefacts whose errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas_jax.errors import WorkdirError

T = TypeVar("T")

# To remove it would hide what the rest of the folder was made beside.
_REMEDY = "put back the file as it was written, or run again in a new --workdir"
_DECODER = json.JSONDecoder()
_SPACE = " \t\n\r"


def _skip(text: str, index: int, ignored: str = _SPACE) -> int:
    while index < len(text) and text[index] in ignored:
        index += 1
    return index


def _child(text: str, start: int, key: str | int) -> int | None:
    """Offset of one member of the array or object at `start`, or None."""
    index = _skip(text, start + 1)
    position = 0
    while text[index] not in "]}":
        name: str | int = position
        if text[start] == "{":
            name, index = _DECODER.raw_decode(text, index)
            index = _skip(text, index, _SPACE + ":")
        if name == key:
            return index
        _, index = _DECODER.raw_decode(text, index)
        index = _skip(text, index, _SPACE + ",")
        position += 1
    return None


def line_of(text: str, path: tuple[str | int, ...]) -> int:
    """1-based line of the value at `path`, or of its deepest container in `text`."""
    index = _skip(text, 0)
    for key in path:
        if text[index] not in "[{":
            break
        child = _child(text, index, key)
        if child is None:
            break
        index = child
    return text.count("\n", 0, index) + 1


@dataclass(frozen=True)
class Source:
    """Where a JSON text came from: the file's name, its text, its first line."""

    name: str
    text: str
    first_line: int = 1


@dataclass(frozen=True)
class Field:
    """One JSON value with its path, so that a complaint can point at it."""

    value: Any
    source: Source
    path: tuple[str | int, ...] = ()

    def error(self, message: str) -> WorkdirError:
        """An error that names the file, the line and the field."""
        return WorkdirError(f"{self.where()} {message}; {_REMEDY}")

    def where(self) -> str:
        """The file, the line and the field, for a message."""
        line = self.source.first_line + line_of(self.source.text, self.path) - 1
        steps = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        name = "".join(steps).lstrip(".") or "the value"
        return f"{self.source.name}, line {line}: {name}"

    def _expect(self, wanted: str, ok: bool) -> None:
        if not ok:
            shown = repr(self.value)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise self.error(f"must be {wanted}, got {shown}")

    def __getitem__(self, key: str | int) -> Field:
        """A member that must exist."""
        if isinstance(key, str):
            self._expect("an object", isinstance(self.value, dict))
            if key not in self.value:
                raise Field(None, self.source, (*self.path, key)).error("is missing")
        return Field(self.value[key], self.source, (*self.path, key))

    def get(self, key: str) -> Field | None:
        """A member that may be missing or null."""
        self._expect("an object", isinstance(self.value, dict))
        return None if self.value.get(key) is None else self[key]

    def items(self) -> Iterator[tuple[str, Field]]:
        """The members of an object, in the order of the file."""
        self._expect("an object", isinstance(self.value, dict))
        return ((key, self[key]) for key in self.value)

    def elements(self) -> tuple[Field, ...]:
        """The elements of an array."""
        self._expect("an array", isinstance(self.value, list))
        return tuple(self[index] for index in range(len(self.value)))

    def number(self) -> float:
        """A number; NaN and infinities pass, because a diverged run holds them."""
        ok = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        self._expect("a number", ok)
        return float(self.value)

    def integer(self) -> int:
        """A whole number that is not negative."""
        number = self.number()
        self._expect("a whole number of at least 0", number >= 0 and number % 1 == 0)
        return int(number)

    def text(self) -> str:
        """A string."""
        self._expect("a string", isinstance(self.value, str))
        return str(self.value)

    def flag(self) -> bool:
        """A boolean."""
        self._expect("true or false", isinstance(self.value, bool))
        return bool(self.value)


def _parse(source: Source) -> Field:
    try:
        return Field(json.loads(source.text), source)
    except json.JSONDecodeError as error:
        line = source.first_line + error.lineno - 1
        raise WorkdirError(
            f"{source.name}, line {line}: not valid JSON ({error.msg}); {_REMEDY}"
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise WorkdirError(
            f"{path.name}, line {line}: not UTF-8 text; {_REMEDY}"
        ) from error


def read_json(path: Path) -> Field | None:
    """The value of a JSON file, or None if there is no such file.

    Raises:
      WorkdirError: the file is not JSON; names the file and the line.
    """
    if not path.is_file():
        return None
    return _parse(Source(path.name, _read_text(path)))


def read_json_lines(
    path: Path, build: Callable[[Field], T]
) -> tuple[tuple[T, ...], int]:
    """Reads a JSON-lines file, which may be missing.

    Args:
      path: the file.
      build: makes a row of a line's value; raises WorkdirError where it is damaged.

    Returns:
      The rows, and the number of lines that were left out because they are damaged.
    """
    rows, damaged = [], 0
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
            rows.append(build(_parse(Source(path.name, text, number))))
        except (UnicodeDecodeError, WorkdirError):
            damaged += 1
    return tuple(rows), damaged
