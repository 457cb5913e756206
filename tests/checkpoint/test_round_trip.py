"""What is saved comes back bit for bit, and can be used as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.checkpoint import Checkpoints


@pytest.mark.parametrize("abstract", [True, False])
def test_round_trip_is_bit_exact(
    saved: Path, abstract: bool, make_state: Any, assert_same: Any
) -> None:
    template = make_state(0.0)
    if abstract:
        template = jax.eval_shape(lambda state: state, template)
    step, state = Checkpoints(saved).restore(template)
    assert step == 2
    assert isinstance(state, type(make_state()))
    assert_same(state, make_state(2.0))


@pytest.mark.parametrize(
    "tree",
    [
        jnp.arange(3),
        {},
        {"none": None, "empty": {}, "zero": jnp.zeros((0, 3)), "one": jnp.ones(1)},
        (jnp.uint8(255), [jnp.array(True)], {"1": jnp.ones(1)}),
        {"zero": jnp.zeros((2, 0), jnp.bfloat16)},
    ],
    ids=["bare array", "empty", "none and size zero", "tuple and list", "size zero"],
)
def test_any_tree_of_arrays(tmp_path: Path, tree: Any, assert_same: Any) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, tree)
    step, restored = checkpoints.restore(tree)
    assert step == 0
    assert_same(restored, tree)


def test_leaves_are_as_free_to_move_as_those_of_a_new_state(
    saved: Path, make_state: Any
) -> None:
    # A committed array could not be used beside arrays on another device.
    _, state = Checkpoints(saved).restore(make_state())
    assert [leaf.committed for leaf in jax.tree.leaves(state)] == [False] * len(
        jax.tree.leaves(state)
    )


def test_sharding_of_the_template_is_kept(tmp_path: Path) -> None:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, {"a": jnp.ones(2), "b": jnp.ones(2)})
    template = {
        "a": jax.ShapeDtypeStruct((2,), jnp.float32, sharding=sharding),
        "b": jax.device_put(jnp.zeros(2), jax.devices()[0]),
    }
    _, restored = checkpoints.restore(template)
    assert restored["a"].committed and restored["b"].committed
    assert restored["a"].sharding == sharding


def test_restored_state_can_be_donated(saved: Path, make_state: Any) -> None:
    _, state = Checkpoints(saved).restore(make_state())
    kernel = state.params["stem"]["kernel"]
    double = jax.jit(lambda array: array * 2, donate_argnums=0)
    np.testing.assert_array_equal(double(kernel), np.arange(6.0).reshape(2, 3) * 4)
