"""A cell: two preprocessed inputs, waves of operations, concatenated nodes."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from nas_jax.networks.layers import Norm, Projection
from nas_jax.networks.plan import CellPlan
from nas_jax.networks.wave import Wave

Remat = Literal["none", "wave", "cell"]
"""What is computed again in the backward pass instead of being stored."""


class Cell(nn.Module):
    """A cell of a supernet or of a discrete network (DARTS, `Cell`).

    Attributes:
        plan: What to compute.
        channels: Channels C of every state.
        reduction: Whether operations on the cell's inputs have stride 2.
        reduce_first: Whether the first input is twice as large as the second, which
            is so after a reduction cell.
        norm: What batch normalisation does.
        discrete: Whether this is a cell of a discrete network: normalisation has
            parameters and running statistics, and pools are not normalised.
        remat: What the backward pass computes again.
    """

    plan: CellPlan
    channels: int
    reduction: bool
    reduce_first: bool
    norm: Norm = "batch"
    discrete: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(
        self, first: jax.Array, second: jax.Array, weights: jax.Array | None
    ) -> jax.Array:
        """`[B, H, W, C1], [B, H, W, C2] -> [B, H', W', nodes * C]`.

        Args:
            first: Output of the cell before the previous one.
            second: Output of the previous cell.
            weights: Architecture weights `[edges, operations]`, or None for ones.
        """
        norm: dict[str, Any] = {
            "norm": self.norm,
            "affine": self.discrete,
            "tracked": self.discrete,
        }
        shrink = Projection(
            self.channels, self.reduce_first, **norm, name="preprocess_0"
        )
        keep = Projection(self.channels, False, **norm, name="preprocess_1")
        states = {0: shrink(first), 1: keep(second)}
        sums: dict[int, jax.Array] = {}
        module = nn.remat(Wave) if self.remat == "wave" else Wave
        for index, ops in enumerate(self.plan.waves):
            wave = module(
                ops,
                self.channels,
                stride=2 if self.reduction and index == 0 else 1,
                **norm,
                pool_norm=not self.discrete,
                name=f"wave_{index}",
            )
            for target, value in wave(dict(states), weights).items():
                sums[target] = sums[target] + value if target in sums else value
            # A node is a source once all its edges are in; a later node may be first.
            states |= {n: sums[n] for n in sums if self._complete(n, index)}
        return jnp.concatenate([states[s] for s in self.plan.concat], axis=-1)

    def _complete(self, node: int, wave: int) -> bool:
        later = self.plan.waves[wave + 1 :]
        return all(o.target != node for ops in later for o in ops)
