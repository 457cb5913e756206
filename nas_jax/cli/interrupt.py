"""SIGTERM as a request: save, then exit with 0 (SLURM, preemptible machines)."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Stopped(Exception):
    """A run was asked to stop and has saved its state."""


class Interrupt:
    """While it is open, SIGTERM asks the running stage to save and stop.

    Attributes:
        requested: Whether the signal has come.
    """

    def __init__(self) -> None:
        """Nothing is requested yet."""
        self.requested = False

    def __enter__(self) -> Interrupt:
        """Start listening; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def stop_if_requested(self, stage: str, step: int) -> None:
        """Leave the stage if the signal has come; call it after saving.

        Raises:
            Stopped: Says where the run will go on.
        """
        if self.requested:
            raise Stopped(
                f"{stage} stopped by SIGTERM and saved at step {step}; the same "
                "command goes on from there"
            )

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
