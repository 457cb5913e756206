"""A loss of weights and alphas on one batch, and its gradients, part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError

Batch = tuple[jax.Array, jax.Array]
"""Float images `[B, H, W, C]` and labels `[B]`."""

Value = tuple[jax.Array, jax.Array]
"""Mean loss and accuracy."""

WEIGHTS, ALPHAS = 0, 1
"""What a gradient is by."""


class Objective:
    """`loss(params, alphas, batch, part) -> (loss, accuracy)` on one batch.

    With more than one microbatch, parts of the batch are computed one after another and
    their gradients averaged: activations of one part exist at a time. Each part is
    normalised by its own statistics, as on one of several devices; without batch
    statistics the result is that of the whole batch up to rounding.
    """

    def __init__(
        self,
        loss: Callable[[Any, Any, Batch, Any], Value],
        batch: Batch,
        microbatches: int = 1,
    ) -> None:
        """Nothing is traced yet.

        Raises:
            ConfigError: The microbatches do not divide the batch.
        """
        if len(batch[1]) % microbatches:
            raise ConfigError(
                f"{microbatches} microbatches do not divide a batch of "
                f"{len(batch[1])}; give a number of microbatches that divides it, or "
                "another batch size"
            )
        self._loss, self._batch, self._count = loss, batch, microbatches

    def gradient(
        self, by: int | tuple[int, int], params: Any, alphas: Any
    ) -> tuple[Value, Any]:
        """The value, and its gradient by WEIGHTS, ALPHAS or `(WEIGHTS, ALPHAS)`."""
        function = jax.value_and_grad(self._loss, by, has_aux=True)
        if self._count == 1:
            return function(params, alphas, self._batch, 0)
        parts = jax.tree.map(
            lambda x: x.reshape(self._count, -1, *x.shape[1:]), self._batch
        )
        first = jax.tree.map(lambda x: x[0], parts)
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(function, params, alphas, first, 0),
        )

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, function(params, alphas, *part)), None

        total, _ = jax.lax.scan(add, zeros, (parts, jnp.arange(self._count)))
        mean: tuple[Value, Any] = jax.tree.map(lambda x: x / self._count, total)
        return mean
