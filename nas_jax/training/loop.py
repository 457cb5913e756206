"""The loop over epochs and their batches, for whatever takes steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

OnStep = Callable[[int, Mapping[str, jax.Array], Any], Any]
"""Called with the number of a step from 1, its metrics and the state after it. The next
step takes over the state's memory: copy what must outlive the call."""


def run_epochs(
    step: Callable[..., tuple[Any, Mapping[str, jax.Array]]],
    state: Any,
    batches: Callable[[int], Sequence[np.ndarray]],
    *,
    per_epoch: int,
    epochs: int,
    on_step: OnStep | None = None,
    on_epoch: Callable[[int, Any], Any] | None = None,
) -> Any:
    """Take all steps that a state lacks, from `state.step` on; returns the last state.

    Args:
        step: `(state, *indices) -> (state, metrics)`.
        state: Any pytree that counts its steps in `step`.
        batches: Gives of an epoch, from 0, the indices of its batches: an array
            `[per_epoch, B]` for each that a step takes.
        per_epoch: Steps of an epoch.
        epochs: Number of them, those that the state has behind it included.
        on_step: Called after each step.
        on_epoch: Called after each epoch with the number of finished ones and a state.
    """
    done = int(state.step)
    for epoch in range(done // max(per_epoch, 1), epochs):
        # A run that was stopped inside an epoch goes on at the next batch.
        rest = slice(done - epoch * per_epoch, None)
        for indices in zip(*(order[rest] for order in batches(epoch)), strict=True):
            state, metrics = step(state, *indices)
            done += 1
            if on_step is not None:
                on_step(done, metrics, state)
        if on_epoch is not None:
            on_epoch(epoch + 1, state)
    return state
