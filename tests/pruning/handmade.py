"""A space whose right answer is known: what each operation is worth is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.proxies import Batch, get_proxy
from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.pruning import (
    PruneResult,
    SupernetSize,
    Target,
    prune,
    zero_one_shot,
)
from nas_jax.spaces import SpaceMask, darts_space

CONVS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
SPACE = darts_space(2, ("none", *CONVS))
FULL = SpaceMask.full(SPACE)
SMALL = SpaceMask.full(darts_space(1, ("none", *CONVS)))
# Three cells: one normal and two reduction cells.
LAYERS = 3
PLACES = {"normal": 1, "reduce": 2}
RNG = np.random.default_rng(0)
WORTH = {c.name: RNG.permutation(25).reshape(5, 5) + 1.0 for c in SPACE.cells}


def a_batch(number: int, size: int) -> Batch:
    images = jnp.full((size, 8, 8, 1), number, jnp.float32)
    return Batch(images, jnp.arange(size) % 2)


def no_batch(number: int, size: int) -> Batch:
    raise AssertionError("nothing is scored")


def run(
    mask: SpaceMask,
    proxies: tuple[str, ...],
    *,
    level: float = 0.5,
    repeats: int = 1,
    rounds: int = 1,
    batches: Any = a_batch,
    **options: Any,
) -> PruneResult:
    strategy = zero_one_shot(
        SupernetSize(2, LAYERS),
        proxies=proxies,
        batch_size=2,
        repeats=repeats,
        rounds=rounds,
    )
    settings = {"key": jax.random.key(0), "num_classes": 2, "target": Target(level)}
    return prune(mask, strategy, batches, **settings | options)


def best(cell: str, edge: int, ops: tuple[str, ...], keep: int) -> tuple[str, ...]:
    worth = dict(zip(SPACE.cell(cell).ops, WORTH[cell][edge], strict=True))
    chosen = sorted(ops, key=lambda op: -worth[op])[:keep]
    return tuple(op for op in ops if op in chosen)


def register_all(
    register: Callable[..., None], worth_proxy: Callable[..., Any]
) -> None:
    """Registers the proxies that know what operations are worth."""
    ones = {c.name: np.ones((2, 5)) for c in SMALL.space.cells}
    by_place = {k: 1 + np.arange(10.0).reshape(2, 5) for k in ones}
    register("worth", worth_proxy(FULL, LAYERS, WORTH))
    register("all_equal", worth_proxy(SMALL, LAYERS, ones))
    register("later_is_better", worth_proxy(SMALL, LAYERS, by_place))
    register("not_a_number", lambda network, batch, key: jnp.full((), jnp.nan))
    register("nothing", lambda network, batch, key: jnp.zeros(()))
    register(
        "magnitude",
        lambda network, batch, key: sum_over_weights(
            jnp.abs, network.live, network.params
        ),
    )
    register("negative", lambda *a: -worth_proxy(SMALL, LAYERS, by_place)(*a))
    register("same", lambda network, batch, key: jnp.ones(()))
    register(
        "negative_params",
        lambda *a: 1e6 - get_proxy("params").score(*a),
    )

    def broken(network: Any, batch: Batch, key: jax.Array) -> jax.Array:
        alive = [
            jnp.sum(live[CONVS[3]]["pointwise_1"])
            for name, live in network.live.items()
            if name.startswith("cell")
        ]
        # Four cells' worth of two edges: one removal takes one or two away.
        whole = jnp.sum(jnp.stack(alive)) == 2 * LAYERS
        worth = worth_proxy(SMALL, LAYERS, by_place)(network, batch, key)
        return jnp.where(whole, worth, jnp.nan)

    register("broken_without_the_last", broken)
    register("image", lambda network, batch, key: 1 + jnp.max(batch.images))
