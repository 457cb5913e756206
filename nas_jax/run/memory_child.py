"""The parent's end of a `memory_worker` process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import nas_jax
from nas_jax.errors import NasJaxError
from nas_jax.memory import Target, child_environment


class CompilerFailedError(NasJaxError):
    """The process of a target's compiler died or gave up."""


class Child:
    """A worker for one target; a context manager, at whose end the process is gone.

    Attributes:
        target: What it compiles for.
        facts: `image_shape`, `num_classes` and `num_train` as the worker knows them.
    """

    def __init__(self, target: Target, setup: dict[str, Any]) -> None:
        """Start the process, and wait until it has checked the experiment.

        Args:
            target: What to compile for.
            setup: What the worker's first request holds beside the target.

        Raises:
            NasJaxError: The worker refuses the experiment, or dies.
        """
        self.target = target
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        source = str(Path(nas_jax.__file__).parents[1])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nas_jax.run.memory_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env={
                **os.environ,
                **child_environment(target),
                # Seconds are those of a first compilation.
                "JAX_ENABLE_COMPILATION_CACHE": "false",
                "PYTHONPATH": path,
            },
        )
        try:
            own = {"target": dataclasses.asdict(target), "parent": os.getpid()}
            self.facts = self.ask({**own, **setup})
        except BaseException:
            self.close()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            NasJaxError: What the worker refuses; CompilerFailedError if it fails.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise CompilerFailedError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            if answer["mistake"]:
                raise NasJaxError(answer["error"])
            raise CompilerFailedError(
                f"compiling for {self.target.name} failed: {answer['error']}"
            )
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Child:
        """The child itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _last_words(self) -> str:
        """Why the process is gone, on one line."""
        code = self._process.wait()
        self._log.seek(0)
        log = self._log.read()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = ""
        if code == -signal.SIGKILL:
            hint = "; this machine may lack memory for it"
        elif "triton" in log:
            # A defect of the compiler that the device's own process would meet too.
            hint = (
                "; XLA_FLAGS=--xla_gpu_enable_triton_gemm=false may help, here and on "
                "the device"
            )
        # What a failed check of the compiler says stands above its stack.
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        failed = [line for line in lines if "Check failed" in line]
        said = (failed or lines or ["nothing"])[-1]
        return (
            f"the process that compiles for {self.target.name} {how}{hint}; it said: "
            f"{said}"
        )
