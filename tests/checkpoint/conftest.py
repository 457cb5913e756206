"""A state with all that a checkpoint has to keep, and folders that hold it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct

from nas_jax.checkpoint import Checkpoints


@struct.dataclass
class State:
    step: jax.Array
    params: Any
    optimiser: Any
    keys: Any


class Pair(NamedTuple):
    first: Any
    second: Any


def new_state(scale: float = 1.0) -> Any:
    params = {
        "stem": {"kernel": jnp.arange(6.0).reshape(2, 3) * scale},
        "a/b.c": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-40]),
        "half": jnp.array([1.5, 2.5], jnp.bfloat16),
    }
    optimiser = optax.chain(optax.clip(1.0), optax.adam(1e-3), optax.trace(0.9))
    return State(
        step=jnp.int32(7),
        params=params,
        optimiser=optimiser.init(params),
        keys=Pair(
            jax.random.split(jax.random.key(1), 2), jax.random.key(2, impl="rbg")
        ),
    )


def data_of(leaf: jax.Array) -> np.ndarray[Any, Any]:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def check_same(actual: Any, expected: Any) -> None:
    """Same types of nodes, dtypes, shapes and bits."""
    structure: Any = jax.tree.structure(actual)
    assert structure == jax.tree.structure(expected)
    for one, other in zip(
        jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
    ):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert data_of(one).tobytes() == data_of(other).tobytes()


@pytest.fixture(scope="session")
def make_state() -> Callable[..., Any]:
    """`make_state(scale=1.0)`: a state with leaves and nodes of every kind."""
    return new_state


@pytest.fixture(scope="session")
def assert_same() -> Callable[[Any, Any], None]:
    """`assert_same(actual, expected)`, bit for bit."""
    return check_same


@pytest.fixture(scope="session")
def steps_in() -> Callable[[Path], list[str]]:
    """`steps_in(folder)`: names of what lies in it."""
    return lambda folder: sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of steps 1 and 2; tests that change them take a copy."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, new_state(1.0))
    checkpoints.save(2, new_state(2.0))
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copied"))
