"""The gradient of the validation loss by the alphas, whose weights depend on them.

The best weights w*(a) are not at hand in a step. A hypergradient puts the present
weights in their place, or the weights after one virtual step w'(a) on the training loss
(Liu et al. 2019, arXiv 1806.09055, section 2.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nas_jax.oneshot.objective import ALPHAS, WEIGHTS, Objective, Value

Ahead = Callable[[Any], Any]
"""The weights after a step of their optimiser on a gradient."""

Found = tuple[Value, Any]
"""Loss and accuracy on the validation batch, and the gradient by the alphas."""

Hypergradient = Callable[[Objective, Objective, Ahead, Any, Any], Found]
"""`(valid, train, ahead, params, alphas) -> found`: the alphas shall lessen `valid`,
the weights lessen `train`."""


def first_order(
    valid: Objective, train: Objective, ahead: Ahead, params: Any, alphas: Any
) -> Found:
    """As if the weights did not depend on the alphas: xi = 0."""
    del train, ahead
    return valid.gradient(ALPHAS, params, alphas)


def finite_difference(
    valid: Objective, train: Objective, ahead: Ahead, params: Any, alphas: Any
) -> Found:
    """DARTS' second order (eq. 7 and 8, with eps = 0.01 / |v|; cnn/architect.py).

    The virtual step is the optimiser's own, momentum, decay and clipping included;
    DARTS' code leaves clipping out.
    """
    _, gradient = train.gradient(WEIGHTS, params, alphas)
    new, pull = jax.vjp(ahead, gradient)
    value, (by_weights, by_alphas) = valid.gradient((WEIGHTS, ALPHAS), new, alphas)
    # What a change of the training gradient does to the validation loss: -xi v.
    (direction,) = pull(by_weights)
    norm = jnp.maximum(optax.tree.norm(direction), jnp.finfo(jnp.float32).tiny)

    def by_alphas_at(sign: int) -> Any:
        moved = jax.tree.map(lambda w, d: w + sign * 0.01 / norm * d, params, direction)
        return train.gradient(ALPHAS, moved, alphas)[1]

    return value, jax.tree.map(
        lambda g, up, down: g + (up - down) * norm / 0.02,
        by_alphas,
        by_alphas_at(1),
        by_alphas_at(-1),
    )


def exact(
    valid: Objective, train: Objective, ahead: Ahead, params: Any, alphas: Any
) -> Found:
    """Eq. 7 differentiated through the virtual step, without eq. 8's difference."""
    new, pull = jax.vjp(
        lambda alphas: ahead(train.gradient(WEIGHTS, params, alphas)[1]), alphas
    )
    value, (by_weights, by_alphas) = valid.gradient((WEIGHTS, ALPHAS), new, alphas)
    return value, jax.tree.map(jnp.add, by_alphas, pull(by_weights)[0])
