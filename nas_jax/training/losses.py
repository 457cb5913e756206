"""Loss and accuracy of a batch, and what a failed one means."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from nas_jax.errors import NasJaxError


class DivergedError(NasJaxError):
    """The loss is not a number any more."""


def loss_and_accuracy(
    logits: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy and share of right answers of `[B, classes]` and `[B]`."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return jnp.mean(losses), jnp.mean(right)


def check_finite(stage: str, step: int, loss: float, last_good: str) -> None:
    """Stop a run whose loss is NaN or infinite.

    Raises:
        DivergedError: Names the stage, the step and what to do.
    """
    if not jnp.isfinite(loss):
        raise DivergedError(
            f"{stage}: the loss is {loss} at step {step}; {last_good}. Lower the "
            "learning rate or the gradient clip"
        )
