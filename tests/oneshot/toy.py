"""A supernet that compiles in a moment: weights of operations, batch statistics."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from nas_jax.networks.parameters import Spec
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(1, ("none", "skip_connect", "sep_conv_3x3"))
PRUNED = SpaceMask.full(SPACE).drop(
    [
        ("normal", 0, "none"),
        ("normal", 1, "sep_conv_3x3"),
        ("reduce", 0, "sep_conv_3x3"),
        ("reduce", 1, "skip_connect"),
    ]
)


class Toy:
    """What `OneShotSearch` asks of a network, for two classes."""

    mask = PRUNED

    def specs(self, depth: int, dtype: Any = jnp.float32) -> dict[str, Any]:
        cells = {c.name: Spec((len(c.edges), len(c.ops)), 1) for c in SPACE.cells}
        return {
            "params": {"first": Spec((depth, 4), 1), "last": Spec((4, 2), 1)} | cells
        }

    def apply(self, variables: Any, images: Any, weights: Any, key: Any = None) -> Any:
        params = variables["params"]
        x = images.mean((1, 2)) @ params["first"]
        x = jnp.tanh(x - x.mean(0))
        for cell in SPACE.cells:
            mixed = jnp.sum(weights[cell.name] * params[cell.name])
            x = jnp.sin((1 + mixed) * x) + x
        return x @ params["last"]
