"""A checkpoint is whole or not there: after damage, a failed save, a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from absl import logging
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas_jax.checkpoint import Checkpoints
from nas_jax.errors import CheckpointError


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
    copied: Path, warnings: list[str], damage: str, make_state: Any, assert_same: Any
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
    step, state = checkpoints.restore(make_state())
    assert step == 1
    assert_same(state, make_state(1.0))
    assert len(warnings) == 2
    assert all(f"checkpoint {newest} is damaged" in line for line in warnings)
    with pytest.raises(CheckpointError, match="2 is damaged"):
        checkpoints.restore(make_state(), step=2)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(
    saved: Path, data: st.DataObject, make_state: Any
) -> None:
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
            checkpoints.restore(make_state(), step=2)
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
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    make_state: Any,
    steps_in: Any,
) -> None:
    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in files_of(copied)}
    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(CheckpointError, match="No space left on device"):
            Checkpoints(copied).save(3, make_state())
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
    tmp_path: Path, repo_root: Path, steps_in: Any
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
