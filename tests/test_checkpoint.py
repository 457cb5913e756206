"""Checkpoints: bit for bit, whole or not there, and refused with one clear error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import logging
from flax import struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas_jax.checkpoint import Checkpoints
from nas_jax.errors import CheckpointError


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


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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


@pytest.mark.parametrize("abstract", [True, False])
def test_round_trip_is_bit_exact(saved: Path, abstract: bool) -> None:
    template = new_state(0.0)
    if abstract:
        template = jax.eval_shape(lambda state: state, template)
    step, state = Checkpoints(saved).restore(template)
    assert step == 2
    assert isinstance(state, type(new_state()))
    check_same(state, new_state(2.0))


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
def test_any_tree_of_arrays(tmp_path: Path, tree: Any) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, tree)
    step, restored = checkpoints.restore(tree)
    assert step == 0
    check_same(restored, tree)


def test_leaves_are_as_free_to_move_as_those_of_a_new_state(saved: Path) -> None:
    # A committed array could not be used beside arrays on another device.
    _, state = Checkpoints(saved).restore(new_state())
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


def test_restored_state_can_be_donated(saved: Path) -> None:
    _, state = Checkpoints(saved).restore(new_state())
    kernel = state.params["stem"]["kernel"]
    double = jax.jit(lambda array: array * 2, donate_argnums=0)
    np.testing.assert_array_equal(double(kernel), np.arange(6.0).reshape(2, 3) * 4)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new", keep=2)
    assert checkpoints.latest_step() is None
    for step in (0, 9, 10):
        checkpoints.save(step, jnp.int32(step))
        assert checkpoints.latest_step() == step
    assert steps_in(tmp_path / "new") == ["10", "9"]


def test_saving_removes_later_steps(copied: Path) -> None:
    # The run went back to step 0 and on: step 2 belongs to what it gave up.
    checkpoints = Checkpoints(copied, keep=3)
    checkpoints.save(1, jnp.ones(1))
    assert steps_in(copied) == ["1"]


def test_other_files_are_left_alone(copied: Path) -> None:
    (copied / "notes").mkdir()
    (copied / "007").mkdir()
    checkpoints = Checkpoints(copied, keep=1)
    assert checkpoints.latest_step() == 2
    checkpoints.save(3, jnp.ones(1))
    assert steps_in(copied) == ["007", "3", "notes"]


def test_nothing_to_restore(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no undamaged checkpoint in"):
        Checkpoints(tmp_path).restore(jnp.ones(1))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *args: found.append(text % args)
    )
    return found


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["cut", "removed", "emptied folder"])
def test_damaged_newest_checkpoint_is_skipped(
    copied: Path, warnings: list[str], damage: str
) -> None:
    newest = copied / "2"
    biggest = max(files_of(newest), key=lambda path: path.stat().st_size)
    if damage == "cut":
        os.truncate(biggest, biggest.stat().st_size // 2)
    elif damage == "removed":
        biggest.unlink()
    else:
        shutil.rmtree(newest)
        newest.mkdir()
    checkpoints = Checkpoints(copied)
    assert checkpoints.latest_step() == 1
    step, state = checkpoints.restore(new_state())
    assert step == 1
    check_same(state, new_state(1.0))
    assert len(warnings) == 2
    assert all(f"checkpoint {newest} is damaged" in line for line in warnings)
    with pytest.raises(CheckpointError, match="2 is damaged"):
        checkpoints.restore(new_state(), step=2)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(saved: Path, data: st.DataObject) -> None:
    # Orbax reads 24 of 25 flipped bits in an array's data without complaint.
    file = data.draw(
        st.sampled_from([f for f in files_of(saved / "2") if f.read_bytes()])
    )
    content = file.read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        file.write_bytes(flipped)
        checkpoints = Checkpoints(saved)
        try:
            checkpoints.restore(new_state(), step=2)
        except CheckpointError:
            pass
        else:
            # White space between the digests says nothing.
            assert file.name == "digests.json"
            assert chr(content[position]).isspace()
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.rename"])
def test_failed_save_leaves_the_checkpoints_of_before(
    copied: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in files_of(copied)}
    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(CheckpointError, match="No space left on device"):
            Checkpoints(copied).save(3, new_state())
    assert {path: path.read_bytes() for path in files_of(copied)} == before
    assert steps_in(copied) == ["1", "2"]


SAVE_FOREVER = """
import sys
import jax.numpy as jnp
from absl import logging
from nas_jax.checkpoint import Checkpoints

logging.set_verbosity(logging.INFO)
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(0, jnp.ones(2))
checkpoints.restore(jnp.ones(2))
step = 0
while True:
    step += 1
    checkpoints.save(step, {"a": jnp.full((300, 300), step, jnp.int32)})
"""


def test_killed_process_leaves_whole_checkpoints(
    tmp_path: Path, repo_root: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SAVE_FOREVER, str(tmp_path)],
        cwd=repo_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "3").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Kill it while it is saving.
    while not list(tmp_path.glob(".saving-*")):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    # Orbax would log fifty lines for each of them.
    assert process.communicate()[0] == b""
    checkpoints = Checkpoints(tmp_path)
    step, state = checkpoints.restore({"a": jnp.zeros((300, 300), jnp.int32)})
    assert step >= 3
    assert (state["a"] == step).all()
    checkpoints.save(step + 1, jnp.ones(1))
    assert steps_in(tmp_path) == sorted([str(step), str(step + 1)])


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
    saved: Path, change: Change, difference: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(saved).restore(change(new_state()))
    message = str(caught.value)
    assert difference in message
    assert "--workdir" in message
    assert "\n" not in message


@pytest.mark.parametrize("leaf", [3, 0.5, "text", np.arange(3), object()])
def test_leaf_that_is_no_jax_array_is_refused(copied: Path, leaf: Any) -> None:
    # NumPy's 64-bit integers would come back with 32 bits.
    with pytest.raises(CheckpointError, match=r"state\['a'\]\[1\] is of type"):
        Checkpoints(copied).save(3, {"a": [jnp.ones(1), leaf]})
    assert steps_in(copied) == ["1", "2"]
