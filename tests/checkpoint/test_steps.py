"""Which steps a folder keeps, and which of them is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from nas_jax.checkpoint import Checkpoints
from nas_jax.errors import CheckpointError


def test_only_the_newest_are_kept(tmp_path: Path, steps_in: Any) -> None:
    checkpoints = Checkpoints(tmp_path / "new", keep=2)
    assert checkpoints.latest_step() is None
    for step in (0, 9, 10):
        checkpoints.save(step, jnp.int32(step))
        assert checkpoints.latest_step() == step
    assert steps_in(tmp_path / "new") == ["10", "9"]


def test_saving_removes_later_steps(copied: Path, steps_in: Any) -> None:
    # The run went back to step 0 and on: step 2 belongs to what it gave up.
    checkpoints = Checkpoints(copied, keep=3)
    checkpoints.save(1, jnp.ones(1))
    assert steps_in(copied) == ["1"]


def test_other_files_are_left_alone(copied: Path, steps_in: Any) -> None:
    (copied / "notes").mkdir()
    (copied / "007").mkdir()
    checkpoints = Checkpoints(copied, keep=1)
    assert checkpoints.latest_step() == 2
    checkpoints.save(3, jnp.ones(1))
    assert steps_in(copied) == ["007", "3", "notes"]


def test_nothing_to_restore(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no undamaged checkpoint in"):
        Checkpoints(tmp_path).restore(jnp.ones(1))
