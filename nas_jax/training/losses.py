"""Loss and accuracy of a batch, and what a failed one means."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nas_jax.data.labels import check_batch_labels
from nas_jax.errors import DataError, NasJaxError

REMEDY = (
    "The same command would end here again: lower the learning rate or the gradient "
    "clip, in a new --workdir"
)
"""Against a run that diverges."""


class DivergedError(NasJaxError):
    """The loss or the state is not a number any more."""


def loss_and_accuracy(
    logits: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy and share of right answers of logits `[B, classes]`.

    Raises:
        DataError: Shapes are others, or the labels `[B]` are no integers or, where
            their values are known, no classes.
    """
    if jnp.ndim(logits) != 2:
        raise DataError(f"logits have shape {jnp.shape(logits)}; give [B, classes]")
    check_batch_labels(labels, *logits.shape)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return jnp.mean(losses), jnp.mean(right)


def check_finite_state(stage: str, step: int, state: Any, last_good: str) -> None:
    """Stop a run whose state, any pytree of arrays, is not finite any more.

    Raises:
        DivergedError: Names the stage, the step, an array and what to do.
    """
    leaves = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
    }
    finite = jax.device_get(_finite(leaves))
    bad = [name for name in leaves if not finite[name]]
    if bad:
        raise DivergedError(
            f"{stage}: {len(bad)} of {len(leaves)} arrays of the state are not finite "
            f"at step {step}, such as {bad[0]}; {last_good}. {REMEDY}"
        )


@jax.jit
def _finite(leaves: dict[str, jax.Array]) -> dict[str, jax.Array]:
    # One program for all, so that the device is waited for once.
    return {name: jnp.all(jnp.isfinite(leaf)) for name, leaf in leaves.items()}


def check_finite(stage: str, step: int, loss: float, last_good: str) -> None:
    """Stop a run whose loss is NaN or infinite.

    Raises:
        DivergedError: Names the stage, the step and what to do.
    """
    if not jnp.isfinite(loss):
        raise DivergedError(
            f"{stage}: the loss is {loss} at step {step}; {last_good}. {REMEDY}"
        )
