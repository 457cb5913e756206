"""A state of another structure, or one that cannot be saved: one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.checkpoint import Checkpoints
from nas_jax.errors import CheckpointError

Change = Callable[[Any], Any]


def kernel(value: Any) -> Change:
    """Puts something else in the place of a state's kernel."""
    stem = {"stem": {"kernel": value}}
    return lambda state: state.replace(params={**state.params, **stem})


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            kernel(jnp.zeros((3, 3))),
            "state.params['stem']['kernel'] is float32[2,3], wanted float32[3,3]",
        ),
        (
            kernel(jnp.zeros((2, 3), jnp.bfloat16)),
            "state.params['stem']['kernel'] is float32[2,3], wanted bfloat16[2,3]",
        ),
        (
            kernel({"deep": jnp.zeros(1)}),
            "state.params['stem']['kernel']['deep'] is missing, wanted float32[1]; "
            "state.params['stem']['kernel'] is float32[2,3], wanted nothing",
        ),
        (
            lambda state: state.replace(keys=(jax.random.key(0), jax.random.key(0))),
            "state.keys[0] is missing, wanted key<fry>[]",
        ),
    ],
    ids=["shape", "dtype", "structure", "keys"],
)
def test_other_structure_is_an_error_that_names_it(
    saved: Path, make_state: Any, change: Change, difference: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(saved).restore(change(make_state()))
    message = str(caught.value)
    assert difference in message
    assert "--workdir" in message
    assert "\n" not in message


@pytest.mark.parametrize("leaf", [3, 0.5, "text", np.arange(3), object()])
def test_leaf_that_is_no_jax_array_is_refused(
    copied: Path, leaf: Any, steps_in: Any
) -> None:
    # NumPy's 64-bit integers would come back with 32 bits.
    with pytest.raises(CheckpointError, match=r"state\['a'\]\[1\] is of type"):
        Checkpoints(copied).save(3, {"a": [jnp.ones(1), leaf]})
    assert steps_in(copied) == ["1", "2"]
