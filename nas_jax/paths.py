"""Paths that a user gives: `~` is the home folder, and what is remote is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from nas_jax.errors import ConfigError

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


class PathError(ConfigError):
    """A path cannot be used: it is remote, or an output that is an input."""


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path on this machine, `~` expanded: a shell leaves `--flag=~/x` as it is.

    Raises:
        PathError: It is remote, such as `gs://bucket/run`: a folder of that name would
            be made here, and lost with the machine.
    """
    text = os.fspath(path)
    if _REMOTE.match(text):
        raise PathError(
            f"{text} is a remote path, and only paths of this machine can be read and "
            "written; mount it, or copy it to or from a local folder"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise PathError(
            f"{text}: there is no home folder of that user; write the path out"
        ) from error


def refuse_overwriting(
    outputs: Mapping[str, str | os.PathLike[str]],
    inputs: Mapping[str, str | os.PathLike[str]],
) -> None:
    """Refuses an output that is an input, under whatever name.

    Args:
        outputs: Paths that will be written, by what the user calls them.
        inputs: Paths that are read, likewise; those that are empty or missing are
            passed over.

    Raises:
        PathError: Two of them are one file: the same path, or links to the same.
    """
    for output, target in outputs.items():
        for name, source in inputs.items():
            # What is remote is never written.
            if not os.fspath(source) or _REMOTE.match(os.fspath(source)):
                continue
            if os.fspath(target) and _same(target, source):
                raise PathError(
                    f"{output} {os.fspath(target)} is the file that {name} reads, "
                    f"{os.fspath(source)}: it would be overwritten; name another file"
                )


def _same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    first, second = local_path(one), local_path(other)
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()
