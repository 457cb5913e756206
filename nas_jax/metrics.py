"""Metrics of a run: rows in a JSONL file, and lines on the screen."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TextIO

from absl import logging

from nas_jax.errors import WorkdirError
from nas_jax.jsonable import dumps


class MetricWriter(Protocol):
    """Takes the metrics of one step after the other."""

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Takes the metrics of a step: numbers, scalars, or nested lists of them."""

    def flush(self) -> None:
        """Makes sure that what was written outlives a crash of the machine."""

    def close(self) -> None:
        """Flushes, and ends the writing."""


class JsonlWriter:
    """Writes one strict JSON object per line, `step` first; NaN becomes null.

    A row reaches the operating system before `write` returns, so it outlives a killed
    process; `flush` lets it outlive a crashed machine. To resume without a gap, write
    and flush the rows of a step before the checkpoint of that step.
    """

    def __init__(
        self, path: str | os.PathLike[str], resume_step: int | None = None
    ) -> None:
        """Opens the file and removes the rows that the run will write again.

        Args:
            path: The file; its folder must exist.
            resume_step: Step of the checkpoint that the run goes on from. Rows after
                it and a half-written last row are removed. None starts a new file.

        Raises:
            WorkdirError: The file cannot be opened, or has a broken row before its
                last one.
        """
        self._path = Path(path)
        try:
            keep = 0 if resume_step is None else self._bytes_until(resume_step)
            # Unbuffered: nothing is left to write when a disk was full.
            self._file = open(self._path, "ab", buffering=0)
            self._file.truncate(keep)
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends a row.

        Args:
            step: Number of steps taken so far; must not decrease.
            metrics: Numbers, NumPy or JAX scalars and arrays, nested lists and dicts.

        Raises:
            WorkdirError: The disk is full or has failed.
            TypeError: JSON has nothing for a part of the metrics.
        """
        rest = memoryview(dumps(dict(step=step, **metrics)).encode() + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Waits until all rows are on the disk.

        Raises:
            WorkdirError: The disk is full or has failed.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Flushes and closes the file; closing it again does nothing."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> JsonlWriter:
        """Returns itself; the `with` block closes the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()

    def _unwritable(self, error: OSError) -> WorkdirError:
        return WorkdirError(
            f"cannot write {self._path}: {error.strerror}; give a --workdir that you "
            "may write to, on a disk with free space"
        )

    def _bytes_until(self, resume_step: int) -> int:
        """Length in bytes of the leading rows up to and with a step."""
        if not self._path.exists():
            return 0
        length = 0
        lines = self._path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            step = _step_of(line)
            if step is None and number < len(lines):
                raise WorkdirError(
                    f"{self._path}, line {number}: not a JSON object with a step; "
                    "remove the line"
                )
            if step is None or step > resume_step:
                break
            length += len(line)
        return length


class Progress:
    """Tells how far a loop is, how fast, and how long it will still take.

    On a terminal one line is rewritten in place; elsewhere log lines are emitted.
    """

    def __init__(
        self,
        total_steps: int,
        label: str,
        every_seconds: float = 10.0,
        *,
        start_step: int = 0,
        unit: str = "steps",
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:
        """Starts the clock.

        Args:
            total_steps: Number of the last step.
            label: What the loop does, such as "search".
            every_seconds: Least seconds between two log lines. The line on a terminal
                is rewritten up to four times a second.
            start_step: Steps taken before this process, in a run that was resumed.
            unit: What steps are called, in the plural.
            clock: Returns seconds.
            stream: Where a terminal would be; stderr by default.
        """
        self._total = total_steps
        self._label = label
        self._unit = unit
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every = min(every_seconds, 0.25) if self._terminal else every_seconds
        self._last_step = start_step
        self._last_time = clock()
        self._width = 0

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Emits a line if it is time for one, and always for the last step.

        Args:
            step: Steps taken so far.
            metrics: Scalars of this step. They are read, which waits for the device,
                only when a line is emitted.
        """
        now = self._clock()
        elapsed = now - self._last_time
        if elapsed < self._every and step < self._total:
            return
        rate = (step - self._last_step) / elapsed if elapsed > 0 else 0.0
        self._emit(self._line(step, rate, metrics or {}), last=step >= self._total)
        self._last_step = step
        self._last_time = now

    def _line(self, step: int, rate: float, metrics: Mapping[str, Any]) -> str:
        parts = [f"{self._label} {step}/{self._total}", f"{rate:.3g} {self._unit}/s"]
        if step < self._total:
            left = (self._total - step) / rate if rate > 0 else math.inf
            parts.append(f"{format_duration(left)} left")
        memory = device_bytes_in_use()
        if memory is not None:
            parts.append(f"{format_bytes(memory)} in use")
        parts += [f"{name} {float(value):.4g}" for name, value in metrics.items()]
        return ", ".join(parts)

    def _emit(self, line: str, last: bool) -> None:
        if not self._terminal:
            logging.info("%s", line)
            return
        # Spaces wipe what is left of a longer line before this one.
        self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
        self._stream.flush()
        self._width = 0 if last else len(line)


def device_bytes_in_use() -> int | None:
    """Returns the bytes in use on the first device; None where it does not say."""
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    return None if statistics is None else statistics.get("bytes_in_use")


def format_duration(seconds: float) -> str:
    """Returns seconds as people say them: `0.35 s`, `42 s`, `3 min 05 s`, `2 h 07 min`.

    Days stand beside hours; an infinite or undefined duration is `unknown time`.
    """
    if not math.isfinite(seconds):
        return "unknown time"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def format_bytes(count: float) -> str:
    """Returns a number of bytes with a binary unit: `512 B`, `1.50 KiB`, `3.21 GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def _step_of(line: bytes) -> int | None:
    """Returns the step of a row, or None if the row is broken or half written."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if line.endswith(b"\n") and isinstance(step, int) else None
