"""The cost of pruning beside that of the search: figures that belong together."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_both_stages_are_scaled_to_a_run(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    flags = "--batch=4 --channels=2 --cells=3 --image_size=8 --nodes=2 --epochs=2"
    flags += (
        f" --train_images=43 --candidates=2 --steps=2 --proxies=params,nwot --out={out}"
    )
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.stage_cost", *flags.split(), f"--out={out}"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    row = json.loads(out.read_text())
    # The whole network and it without each of 7 operations on 10 edges, 3 repeats.
    assert row["candidates"] == (1 + 70) * 3
    assert row["steps"] == 2 * (43 // 4)
    assert len(row["step_seconds"]) == 2
    compiling = row["prune_compile_seconds"], row["search_compile_seconds"]
    assert min(compiling) > 0.1
    step = statistics.median(row["step_seconds"])
    assert row["search_seconds"] == pytest.approx(step * row["steps"] + compiling[1])
    assert row["prune_seconds"] == pytest.approx(
        row["candidate_seconds"] * row["candidates"] + compiling[0]
    )
    assert row["ratio"] == row["prune_seconds"] / row["search_seconds"]
    assert f"pruning is {row['ratio']:.1%} of it" in result.stdout
