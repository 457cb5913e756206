"""Text files of genotypes, masks and architectures."""

from __future__ import annotations

import os

from nas_jax.errors import NasJaxError
from nas_jax.paths import local_path

BYTE_ORDER_MARK = "\ufeff"
"""What some editors write before the first letter of UTF-8."""


def read_text(
    path: str | os.PathLike[str], error: type[NasJaxError], remedy: str
) -> str:
    """The text of a UTF-8 file, without a byte order mark; `~` is the home folder.

    Raises:
        NasJaxError: `error`, which ends with the remedy, where the file cannot be read
            as text; PathError where the path is not of this machine.
    """
    file = local_path(path)
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise error(f"cannot read {file}: {cause.strerror}; {remedy}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"cannot read {file} as utf-8: {cause.reason}; {remedy}") from cause


def short(value: object) -> str:
    """A value as an error message shows it: its start."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return repr(text) if isinstance(value, str) else text
