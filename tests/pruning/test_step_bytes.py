"""Budgets from Python: a step is compiled for a device and never run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import Target, get_strategy, prune, step_bytes
from nas_jax.spaces import SpaceMask, darts_space
from tests.pruning.handmade import no_batch

MASK = SpaceMask.full(darts_space(1))


def lower(mask: SpaceMask, where: Any) -> Any:
    """A step that holds a row of 1,000 numbers for each kept operation."""
    rows = jax.ShapeDtypeStruct((mask.num_kept, 1000), jnp.float32, sharding=where)
    return jax.jit(lambda x: jnp.sum(x)).lower(rows)


@pytest.mark.parametrize("target", ["", "cpu"])
def test_pruning_to_a_budget(target: str) -> None:
    measure = step_bytes(lower, target)
    needed = measure(MASK)
    assert 4000 * MASK.num_kept <= needed < 4000 * (MASK.num_kept + 1)
    budget = 4000 * 21
    result = prune(
        MASK,
        get_strategy("random", MASK.space),
        no_batch,
        key=jax.random.key(0),
        num_classes=2,
        target=Target(budget_bytes=budget, step_bytes=measure),
    )
    assert result.mask.num_kept == 20
    assert result.step_bytes == measure(result.mask) <= budget


def test_another_device_is_refused_before_anything_is_traced() -> None:
    def never(mask: SpaceMask, where: Any) -> Any:
        raise AssertionError("nothing is traced")

    with pytest.raises(ConfigError, match="unknown target 'h10'; did you mean 'h100'"):
        step_bytes(never, "h10")
