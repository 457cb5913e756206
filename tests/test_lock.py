"""One writer at a time, in real processes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas_jax.errors import WorkdirError
from nas_jax.lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from nas_jax.lock import locked
with locked(Path(sys.argv[1]), "workdir w", ["nas-jax", "run"]):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_second_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = holder(path)
    try:
        before = path.read_bytes()
        with pytest.raises(WorkdirError) as caught, locked(path, "workdir w", []):
            pass
        message = str(caught.value)
        assert f"workdir w is in use by process {process.pid} on " in message
        assert path.read_bytes() == before
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    with locked(path, "workdir w", ["mine"]):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_two_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "w", []):
        with pytest.raises(WorkdirError), locked(path, "w", []):
            pass
    assert not path.exists()
    with locked(path, "w", []):
        pass


def test_file_that_its_holder_removes_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / ".lock", os.open
    removed: list[str] = []

    def open_and_lose(*arguments: Any) -> int:
        file = opened(*arguments)
        if not removed:
            removed.append("once")
            path.unlink()
        return file

    monkeypatch.setattr(os, "open", open_and_lose)
    with locked(path, "w", []):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_shorter_owner_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("x" * 1000)
    with locked(path, "w", ["x"]):
        assert json.loads(path.read_text())["command"] == ["x"]


def test_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / ".lock", "workdir w", []):
        pass
    assert "workdir w: this file system has no locks" in caplog.text
