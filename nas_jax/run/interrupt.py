"""Signals as requests: save, then end with a code that says so.

A thread of its own looks at signals, as Python's handlers wait until the main thread
comes back from compiling or computing. It never raises anything in the main thread:
an exception may fall into a callback inside JAX, which swallows it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

STOPPED = 75
"""Exit code of a run that was stopped and that the same command goes on with: the
temporary failure of sysexits.h, EX_TEMPFAIL."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Requests to stop: of a scheduler, from the keyboard, and of a broken connection."""


class Stopped(Exception):
    """A run was asked to stop and has saved its state."""


class Interrupt:
    """While it is open, a signal asks the command to stop; a second one ends it.

    Where there is work to save, the stage does so at its next step. Everywhere else,
    as while it loads, traces, compiles or scores, the process ends at once: what it
    has finished is on the disk, whole.

    Attributes:
        requested: Whether a signal has come.
        resumable: Whether the same command goes on after a stop; decides the exit code,
            STOPPED or, as in a shell, 128 and the signal's number.
        doing: What the command is at, for the message.
    """

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self.requested = False
        self.resumable = False
        self.doing = "before it had begun"
        self._name = ""
        self._saving = False
        self._arrivals = 0
        # Between whether a stage saves and what a signal does about it.
        self._turn = threading.Lock()

    def __enter__(self) -> Interrupt:
        """Start listening; only the main thread can."""
        self._before: dict[int, object] = {}
        self._thread: threading.Thread | None = None
        if threading.current_thread() is not threading.main_thread():
            return self
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        # The C code of Python writes a signal's number here, whatever Python does.
        self._wakeup = signal.set_wakeup_fd(
            self._write.fileno(), warn_on_full_buffer=False
        )
        for number in SIGNALS:
            # Those that nohup or a shell's & has switched off stay off.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if self._thread is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        self._write.close()
        self._thread.join()
        self._read.close()

    @contextlib.contextmanager
    def saving(self, stage: str) -> Iterator[None]:
        """A block from `save_from` to `finish`."""
        self.save_from(stage)
        try:
            yield
        except BaseException:
            self._leave(stage)
            raise
        self.finish(stage)

    def save_from(self, stage: str) -> None:
        """From here on a stop must not lose work: it looks at `requested` and saves."""
        with self._turn:
            self._saving, self.doing = True, f"in {stage}"

    def finish(self, stage: str) -> None:
        """Its work is done and on the disk.

        Raises:
            Stopped: A signal came meanwhile.
        """
        self._leave(stage)
        if self.requested:
            raise Stopped(
                f"{stage} is finished and saved, and {self._name} came; the same "
                "command goes on from there"
            )

    def _leave(self, stage: str) -> None:
        with self._turn:
            # What a request ends is followed by nothing: it stays saving.
            self._saving, self.doing = self.requested, f"after {stage}"

    def stop_if_requested(self, stage: str, step: int) -> None:
        """Leave the stage if a signal has come; call it after saving.

        Raises:
            Stopped: Says where the run will go on.
        """
        if self.requested:
            raise Stopped(
                f"{stage} stopped by {self._name} and saved at step {step}; the same "
                "command goes on from there"
            )

    def _heard(self, number: int, frame: object) -> None:
        """In the main thread, where it is between two steps: none more is taken."""
        self.requested, self._name = True, signal.Signals(number).name

    def _watch(self) -> None:
        while number := self._read.recv(1):
            if number[0] in self._before:
                with self._turn:
                    self._arrived(signal.Signals(number[0]))

    def _arrived(self, number: signal.Signals) -> None:
        self._arrivals += 1
        if self._arrivals > 1:
            _end(f"{number.name} again: ended at once", 128 + number)
        self.requested, self._name = True, number.name
        if self._saving:
            _say(f"{number.name}: {self.doing}, saving; the signal again ends it now")
        elif self.resumable:
            _end(
                f"stopped by {number.name} {self.doing}; what was finished is saved, "
                "and the same command goes on from there",
                STOPPED,
            )
        else:
            _end(f"ended by {number.name} {self.doing}", 128 + number)


def _say(text: str) -> None:
    # Not the logger: the main thread may hold its lock.
    with contextlib.suppress(OSError):
        os.write(2, f"nas-jax: {text}\n".encode())


def _end(text: str, code: int) -> None:
    _say(text)
    os._exit(code)
