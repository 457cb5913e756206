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
    saved: Checkpoints, stage: Any, experiment: Experiment, log: str
) -> tuple[Any, JsonlWriter]:
    """The state to go on from, or None, and the log cut to the same step."""
    path = experiment.workdir.path(log)
    if saved.latest_step() is None:
        return None, JsonlWriter(path)
    key = jax.random.key(0)
    if isinstance(stage, training.Trainer):
        fresh: Any = stage.init(key)
    else:
        fresh = stage.init(key, experiment.dataset.image_shape)
    step, state = saved.restore(fresh)
    return state, JsonlWriter(path, resume_step=step)


def last_checkpoint(saved: Checkpoints) -> str:
    """In words, for the message of a run that failed."""
    step = saved.latest_step()
    if step is None:
        return "there is no checkpoint yet"
    return f"the last good checkpoint is of step {step}"


class Clock:
    """Rate of steps since the last row, and time since the last checkpoint."""

    def __init__(self, step: int) -> None:
        """Starts both at a step."""
        self._step, self._time = step, time.perf_counter()
        self._saved = self._time

    def rate(self, step: int) -> float:
        """Steps a second since the last call."""
        now = time.perf_counter()
        rate = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return rate

    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.perf_counter() - self._saved >= CHECKPOINT_SECONDS

    def saved(self) -> None:
        """Starts the time to the next checkpoint."""
        self._saved = time.perf_counter()
