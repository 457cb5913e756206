"""One writer at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from absl import logging

from nas_jax.errors import WorkdirError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def locked(path: Path, what: str, command: Sequence[str]) -> Iterator[None]:
    """A block that holds a file's lock; the file is removed at its end.

    The kernel drops the lock when the process ends, however it ends; a file that is
    left then locks nothing. On a network file system its server does so, for all
    machines; where there are no locks a warning is logged.

    Args:
        what: What it protects, for the message.
        command: Who holds it, for the message of the next.

    Raises:
        WorkdirError: Another process has it; nothing has been written.
        OSError: The file cannot be opened.
    """
    file = _open_locked(path, what)
    # Its last holder may have removed it after it was opened here.
    while not _is_at(file, path):
        os.close(file)
        file = _open_locked(path, what)
    os.truncate(file, 0)
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
    }
    os.write(file, json.dumps(owner).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _open_locked(path: Path, what: str) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(os.read(file, 1 << 16))
        os.close(file)
        raise WorkdirError(
            f"{what} is in use by {holder}; wait until it has ended, or name another "
            "one"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(file)
            raise
        logging.warning(
            f"{what}: this file system has no locks ({error.strerror}); make sure that "
            "no other process writes there"
        )
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(text: bytes) -> str:
    """Who has a lock, in words; it may be writing this very moment."""
    try:
        owner = json.loads(text)
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
