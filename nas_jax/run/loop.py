"""What a stage of many steps does beside its steps: log, check, save, stop, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import logging

from nas_jax import training
from nas_jax.checkpoint import Checkpoints
from nas_jax.identity import MadeFrom
from nas_jax.metrics import JsonlWriter, Progress
from nas_jax.run.experiment import Experiment
from nas_jax.run.interrupt import Interrupt

CHECKPOINT_SECONDS = 60.0
"""Least time between two checkpoints; a stopped run also saves one at once."""


class Loop:
    """The callbacks of a loop of steps, and the state that it goes on from.

    Attributes:
        state: That of the newest checkpoint; None without one.
        log: Its rows; to be closed at the end.
    """

    def __init__(
        self,
        experiment: Experiment,
        name: str,
        made_from: MadeFrom,
        interrupt: Interrupt,
        *,
        fresh: Callable[[], Any],
        per_epoch: int,
        epochs: int,
        log_every: int,
        describe: Callable[[int, Any], Mapping[str, Any]],
        shown: tuple[str, ...],
        tests: bool = False,
    ) -> None:
        """Reads the newest checkpoint, and cuts the log to its step.

        Args:
            experiment: Its workdir holds log and checkpoints.
            name: The stage's.
            made_from: What the stage is made from.
            interrupt: Listens to signals.
            fresh: Makes a state, for its structure alone.
            per_epoch: Steps of an epoch.
            epochs: Number of them.
            log_every: Steps between two rows of the log.
            describe: What a row has beside the metrics, of a step and its state.
            shown: Metrics to show on the screen.
            tests: Whether `on_epoch` follows the last step of each epoch; its row and
                its checkpoint then wait for it.
        """
        count = jax.device_count()
        if count > 1:
            logging.warning("%s runs on 1 of the %d devices that are here", name, count)
        self._name, self._interrupt = name, interrupt
        self._per_epoch, self._total = per_epoch, per_epoch * epochs
        self._log_every, self._describe = log_every, describe
        self._shown, self._tests = shown, tests
        workdir = experiment.workdir
        self._saved = Checkpoints(
            workdir.path(f"checkpoints/{name}"), made_from=made_from
        )
        step, self.state = None, None
        if self._saved.latest_step() is not None:
            step, self.state = self._saved.restore(fresh())
        self._start = step or 0
        self.log = JsonlWriter(workdir.path(f"{name}.jsonl"), step, made_from.digest)
        self._row: dict[str, Any] = {}
        # From here on a signal makes the loop save at its next step.
        interrupt.save_from(name)
        self._progress = Progress(self._total, name, start_step=self._start)
        self._clock = _Clock()

    def on_step(self, step: int, metrics: Mapping[str, Any], state: Any) -> None:
        """Called after each step with its number from 1.

        Raises:
            DivergedError: A loss or the state is not finite.
            Stopped: A signal came, and the state is saved.
        """
        self._clock.tick(step)
        self._progress.update(step, {name: metrics[name] for name in self._shown})
        ends_epoch = self._tests and step % self._per_epoch == 0
        if step % self._log_every == 0 or step == self._total or ends_epoch:
            row = {name: float(value) for name, value in metrics.items()}
            loss = sum(row[name] for name in row if name.endswith("_loss"))
            training.check_finite(self._name, step, loss, self._last())
            self._row = {
                "epoch": step / self._per_epoch,
                **row,
                **self._describe(step, state),
                "steps_per_second": self._clock.rate(step),
            }
            if not ends_epoch:
                self.log.write(step, self._row)
        if not ends_epoch:
            self._save_if_due(step, state)

    def on_epoch(self, epoch: int, state: Any, loss: float, accuracy: float) -> None:
        """Called after each epoch with its number from 1 and the figures of its test.

        Raises:
            DivergedError: The state is not finite.
            Stopped: A signal came, and the state is saved.
        """
        step = epoch * self._per_epoch
        self.log.write(
            step, {**self._row, "test_loss": loss, "test_accuracy": accuracy}
        )
        if epoch == self._start // self._per_epoch + 1:
            # The first test compiled.
            self._progress.again(step)
        self._save_if_due(step, state)
        self._clock.rate(step)  # A test is no part of the rate of the steps after it.

    def _save_if_due(self, step: int, state: Any) -> None:
        """Saves a state after the rows of its step, if it is finite."""
        # The weights that were trained are a result.
        trained = self._tests and step == self._total
        if not (trained or self._interrupt.requested or self._clock.due()):
            return
        self.log.flush()
        training.check_finite_state(self._name, step, state, self._last())
        self._saved.save(step, state)
        self._clock.saved()
        self._interrupt.stop_if_requested(self._name, step)

    def _last(self) -> str:
        """The newest checkpoint in words, for the message of a run that failed."""
        step = self._saved.latest_step()
        if step is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is of step {step}"


class _Clock:
    """Rate of steps since the last row, and time since the last checkpoint.

    The first step is not part of any rate: it may have compiled.
    """

    def __init__(self) -> None:
        """Starts with the first step that `tick` sees."""
        self._step: int | None = None
        self._time = self._saved = time.perf_counter()

    def tick(self, step: int) -> None:
        """Called after every step."""
        if self._step is None:
            self._step, self._time = step, time.perf_counter()

    def rate(self, step: int) -> float | None:
        """Steps a second since the last call; None in the first step."""
        now = time.perf_counter()
        before = self._step
        steps = 0 if before is None else step - before
        seconds = now - self._time
        self._step, self._time = step, now
        return steps / max(seconds, 1e-9) if steps else None

    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.perf_counter() - self._saved >= CHECKPOINT_SECONDS

    def saved(self) -> None:
        """Starts the time to the next checkpoint."""
        self._saved = time.perf_counter()
