"""Metrics of a run: rows in a JSONL file, and lines on the screen."""

from __future__ import annotations

import json
import math
import operator
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from absl import logging

from nas_jax.errors import WorkdirError
from nas_jax.identity import FIELD
from nas_jax.jsonable import dumps


class JsonlWriter:
    """Writes one strict JSON object per line, `step` first; NaN becomes null.

    A row reaches the operating system before `write` returns, so it outlives a killed
    process; `flush` lets it outlive a crashed machine. To resume without a gap, write
    and flush the rows of a step before the checkpoint of that step.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resume_step: int | None = None,
        made_from: str = "",
    ) -> None:
        """Opens the file and leaves out the rows that the run will write again.

        A damaged row is left out too, and the file as it was is kept beside it.

        Args:
            path: The file; its folder must exist.
            resume_step: Step of the checkpoint that the run goes on from. Rows after
                it and a half-written last row are left out. None starts a new file.
            made_from: Digest that every row gets as `made_from`; empty for none.

        Raises:
            WorkdirError: The file cannot be read or written.
        """
        self._path = Path(path)
        self._common = {FIELD: made_from} if made_from else {}
        try:
            kept = b"" if resume_step is None else self._rows_until(resume_step)
            if kept and not self._path.read_bytes().startswith(kept):
                self._replace(kept)
            # Unbuffered: nothing is left to write when a disk was full.
            self._file = open(self._path, "ab", buffering=0)
            self._file.truncate(len(kept))
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends a row.

        Raises:
            WorkdirError: The disk is full or has failed.
            TypeError: JSON has nothing for a part of the metrics.
        """
        row = dict(step=step, **metrics, **self._common)
        rest = memoryview(dumps(row).encode() + b"\n")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Waits until all rows are on the disk."""
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
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> WorkdirError:
        return WorkdirError(
            f"cannot write {self._path}: {error.strerror}; give a --workdir that you "
            "may write to, on a disk with free space"
        )

    def _rows_until(self, resume_step: int) -> bytes:
        """The undamaged rows up to and with a step, by step."""
        if not self._path.exists():
            return b""
        content = self._path.read_bytes()
        rows: list[tuple[int, bytes]] = []
        damaged = []
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            step = _step_of(line)
            if step is not None:
                rows.append((step, line))
            elif line.endswith(b"\n"):
                damaged.append(number)
        if damaged:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            aside.write_bytes(content)
            logging.warning(
                f"{self._path}: {lines_in_words(damaged)} damaged and left out; the "
                f"whole file as it was is {aside.name}"
            )
        rows.sort(key=operator.itemgetter(0))
        return b"".join(line for step, line in rows if step <= resume_step)

    def _replace(self, content: bytes) -> None:
        unfinished = self._path.with_name(f".{self._path.name}.tmp")
        unfinished.write_bytes(content)
        os.replace(unfinished, self._path)


def lines_in_words(numbers: Sequence[int]) -> str:
    """Numbers of lines as a subject: `line 3 is`, `lines 3, 5 and 8 are`."""
    if len(numbers) == 1:
        return f"line {numbers[0]} is"
    some = ", ".join(map(str, numbers[:-1]))
    return f"lines {some} and {numbers[-1]} are"


class Progress:
    """Tells how far a loop is, how fast, and how long it will still take.

    What comes before the end of the first step, compilation above all, says nothing
    about the steps after it: it has no part in the rate, and is told by itself.

    On a terminal one line is rewritten in place; elsewhere log lines are emitted.

    Attributes:
        total_steps: Number of the last step; may be set once it is known.
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
        """Starts the clock; make it before the first step begins.

        Args:
            every_seconds: Least seconds between two log lines. The line on a terminal
                is rewritten up to four times a second.
            start_step: Steps taken before this process, in a run that was resumed.
            unit: What steps are called, in the plural.
        """
        self.total_steps = total_steps
        self._label = label
        self._unit = unit
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._every = min(every_seconds, 0.25) if self._terminal else every_seconds
        self._start_step = start_step
        self._started = self._shown = clock()
        self._since: tuple[int, float] | None = None
        """Where the rate is counted from: a step and its time, once one is done."""
        self._width = 0

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Emits a line if it is time for one, and always for the last step.

        Args:
            metrics: Scalars of this step. They are read, which waits for the device,
                only when a line is emitted.
        """
        now = self._clock()
        last = step >= self.total_steps
        if now - self._shown >= self._every or last:
            # Read before the clock is: a step that was sent off is not yet done.
            told = [f"{name} {float(it):.4g}" for name, it in (metrics or {}).items()]
            now = self._clock()
            memory = device_bytes_in_use()
            if memory is not None:
                told.insert(0, f"{format_bytes(memory)} in use")
            where = f"{self._label} {step}/{self.total_steps}"
            self._emit(", ".join([where, *self._pace(step, now), *told]), last)
            self._shown = now
            self._since = None
        if self._since is None and step > self._start_step:
            self._since = step, now

    def skip(self, step: int) -> None:
        """Takes the steps so far as taken before this process, as `start_step`."""
        self._start_step, self._started, self._since = step, self._clock(), None

    def again(self, step: int) -> None:
        """Counts the rate from here: what came since the last step has no part in it.

        Such as a test, whose first time compiles.
        """
        self._since = step, self._clock()

    def _pace(self, step: int, now: float) -> list[str]:
        """How fast it goes and what is left; before the second step, how it began."""
        if self._since is None:
            first = step - self._start_step
            many = f" {first}" if first > 1 else ""
            took = format_duration(now - self._started)
            return [f"the first{many} took {took}" if first > 0 else f"{took} so far"]
        steps, seconds = step - self._since[0], now - self._since[1]
        rate = steps / seconds if seconds > 0 else 0.0
        pace = [f"{rate:.3g} {self._unit}/s"]
        if step < self.total_steps:
            left = (self.total_steps - step) / rate if rate > 0 else math.inf
            pace.append(f"{format_duration(left)} left")
        return pace

    def _emit(self, line: str, last: bool) -> None:
        if not self._terminal:
            logging.info("%s", line)
            return
        # Spaces wipe what is left of a longer line before this one.
        self._stream.write("\r" + line.ljust(self._width) + ("\n" if last else ""))
        self._stream.flush()
        self._width = 0 if last else len(line)


def device_bytes_in_use() -> int | None:
    """Bytes in use on the first device; None where it does not say."""
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
    try:
        row = json.loads(line)
    except ValueError:
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if line.endswith(b"\n") and isinstance(step, int) else None
