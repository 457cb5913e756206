"""The benchmark runs through at a tiny size, and its rows are whole."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.problem import HALF, HALF_KEPT, UNPRUNED, Problem
from nas_jax.errors import MaskError
from nas_jax.spaces import SpaceMask, darts_space

PROBLEM = Problem(batch=2, channels=2, cells=3, image_size=8, nodes=4, seed=0)
FIELDS = {
    "variant",
    "batch",
    "channels",
    "cells",
    "image_size",
    "dtype",
    "remat",
    "kept_fraction",
    "step_seconds_median",
    "step_seconds_all",
    "ratio_to_torch",
    "trace_seconds",
    "compile_seconds_cold",
    "compile_seconds_warm",
    "temp_bytes",
    "peak_bytes",
    "torch_saved_bytes",
    "versions",
    "cpu_count",
    "load_before",
    "cpu_model",
}
OURS_ONLY = {
    "remat",
    "trace_seconds",
    "compile_seconds_cold",
    "compile_seconds_warm",
    "temp_bytes",
    "peak_bytes",
}

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="needs PyTorch: pip install -e '.[benchmark]'",
)


def run(
    repo_root: Path, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.search_step", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@needs_torch
def test_rows_are_whole(repo_root: Path, tmp_path: Path) -> None:
    # Few operations and no rematerialisation: they compile in seconds.
    space = darts_space(2)
    kept = ("max_pool_3x3", "skip_connect")
    mask = SpaceMask(space, tuple((kept,) * len(c.edges) for c in space.cells))
    (tmp_path / "prune.json").write_text(mask.to_json())
    tiny = ["--batch=2", "--channels=2", "--cells=3", "--nodes=2", "--image_size=8"]
    what = ["--masks=prune.json", "--remats=none", "--torch_layouts=NCHW"]
    result = run(repo_root, tmp_path, *tiny, *what, "--steps=1", "--out=rows.json")
    assert result.returncode == 0, result.stderr
    theirs, ours = json.loads((tmp_path / "rows.json").read_text())
    assert {p.name for p in tmp_path.iterdir()} == {"rows.json", "prune.json"}
    for row in (theirs, ours):
        assert set(row) >= FIELDS
        assert len(row["step_seconds_all"]) == 1
        assert row["step_seconds_median"] == row["step_seconds_all"][0] > 0
        assert set(row["versions"]) == {"python", "jax", "torch"}
        assert row["cpu_count"] > 0 and row["cpu_model"]
    assert (theirs["variant"], theirs["kept_fraction"]) == ("torch NCHW unpruned", 1.0)
    assert (ours["variant"], ours["kept_fraction"]) == ("jax prune.json", 0.25)
    assert theirs["ratio_to_torch"] == 1 and theirs["torch_saved_bytes"] > 0
    assert ours["ratio_to_torch"] == (
        ours["step_seconds_median"] / theirs["step_seconds_median"]
    )
    assert all(theirs[name] is None for name in OURS_ONLY)
    assert all(ours[name] for name in OURS_ONLY)
    assert ours["trace_seconds"] < ours["compile_seconds_cold"]  # one is part of both
    header, _, *lines = result.stdout.splitlines()
    assert header.startswith("| variant") and len(lines) == 2


@needs_torch
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--masks=prune.json", "mask 'prune.json' is not 'unpruned', 'half' or a"),
        ("--image_size=10", "image size 10x10 does not fit 8 layers"),
        ("--remats=waves", "must be one or more of none, "),
        ("--out=nowhere/rows.json", "must lie in a folder that exists"),
    ],
)
def test_mistakes(repo_root: Path, tmp_path: Path, argument: str, message: str) -> None:
    result = run(repo_root, tmp_path, argument)
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_half_keeps_four_operations_of_each_edge() -> None:
    mask = PROBLEM.mask(HALF)
    for kept in mask.arrays().values():
        np.testing.assert_array_equal(kept.sum(axis=1), HALF_KEPT)
    assert mask == PROBLEM.mask(HALF)
    another = Problem(**{**vars(PROBLEM), "seed": 1})
    assert mask != another.mask(HALF)


def test_mask_of_a_file(tmp_path: Path) -> None:
    mask = PROBLEM.mask(HALF)
    path = tmp_path / "prune.json"
    path.write_text(mask.to_json())
    assert PROBLEM.mask(str(path)) == mask
    assert PROBLEM.mask(UNPRUNED) == SpaceMask.full(PROBLEM.space)
    with pytest.raises(MaskError, match="missing.json"):
        PROBLEM.mask(str(tmp_path / "missing.json"))
