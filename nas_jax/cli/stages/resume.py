"""Checkpoints of a stage that takes many steps: when they are due, and going on."""

from __future__ import annotations

import time
from typing import Any

import jax

from nas_jax import training
from nas_jax.checkpoint import Checkpoints
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.metrics import JsonlWriter

CHECKPOINT_SECONDS = 60.0
"""Least time between two checkpoints; a stopped run also saves one at once."""


def resume(
    saved: Checkpoints, stage: Any, experiment: Experiment, log: str, digest: str
) -> tuple[Any, JsonlWriter]:
    """The state to go on from, or None, and the log cut to the same step.

    Args:
        saved: The stage's checkpoints.
        stage: Its algorithm or trainer, which makes a state.
        experiment: The experiment.
        log: Name of the log.
        digest: Of what the stage is made from, for each row of the log.
    """
    path = experiment.workdir.path(log)
    if saved.latest_step() is None:
        return None, JsonlWriter(path, made_from=digest)
    key = jax.random.key(0)
    if isinstance(stage, training.Trainer):
        fresh: Any = stage.init(key)
    else:
        fresh = stage.init(key, experiment.dataset.image_shape)
    step, state = saved.restore(fresh)
    return state, JsonlWriter(path, step, digest)


def save(saved: Checkpoints, stage: str, step: int, state: Any, log: Any) -> None:
    """Saves a state after the rows of its step, if it is finite.

    Raises:
        DivergedError: It is not: nothing is saved, and no earlier state is removed.
    """
    log.flush()
    training.check_finite_state(stage, step, state, last_checkpoint(saved))
    saved.save(step, state)


def last_checkpoint(saved: Checkpoints) -> str:
    """In words, for the message of a run that failed."""
    step = saved.latest_step()
    if step is None:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is of step {step}"


class Clock:
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
