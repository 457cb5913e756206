"""Proxies whose right answer is known, registered for one module."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks.darts.stack import places
from nas_jax.networks.engines.plan import plan_supernet
from nas_jax.proxies import Batch, Proxy, ScoredNetwork, get_proxy
from nas_jax.proxies import proxy as registry
from nas_jax.spaces import SpaceMask

Register = Callable[..., None]


@pytest.fixture(scope="module")
def register() -> Iterator[Register]:
    """Registers a proxy by name and function, until the module's end."""
    with pytest.MonkeyPatch.context() as patch:

        def add(name: str, score: Any, **changes: Any) -> None:
            proxy = dataclasses.replace(
                get_proxy("params"), name=name, score=score, **changes
            )
            assert isinstance(proxy, Proxy)
            patch.setitem(registry._REGISTRY, name, proxy)

        yield add


@pytest.fixture(scope="session")
def worth_proxy() -> Callable[..., Any]:
    """Makes a proxy: 100 plus what the living operations are worth, in each cell.

    It only reads `network.live`, so convolutions are all that it sees.
    """

    def make(mask: SpaceMask, layers: int, worth: dict[str, np.ndarray]) -> Any:
        def score(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
            total = jnp.full((), 100.0)
            for index, place in enumerate(places(2, layers)):
                plan = plan_supernet(mask, place.name, place.reduction)
                live = network.live[f"cell_{index}"]
                for name in sorted({o.op for o in plan.ops}):
                    values = [
                        worth[place.name][o.edge, o.column]
                        for o in plan.ops
                        if o.op == name
                    ]
                    alive = live[name]["pointwise_1"]
                    total += alive @ jnp.array(values, jnp.float32)
            return total

        return score

    return make
