"""Algorithms by name: the package's, and one that a user wrote."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.config import SearchConfig
from nas_jax.errors import ConfigError
from nas_jax.networks import Size, family_of
from nas_jax.oneshot import (
    ALGORITHMS,
    get_algorithm,
    register_algorithm,
)
from nas_jax.oneshot.registry import OPTIONS
from nas_jax.spaces import get_mask

OWN = Path(__file__).with_name("own_algorithm.py")
TINY = Path(__file__).parents[1] / "cli" / "tiny.py"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_composed_from_a_config(name: str) -> None:
    told = dataclasses.asdict(SearchConfig()) | {
        "total_steps": 10,
        "steps_per_epoch": 5,
    }
    assert set(OPTIONS) <= set(told)
    mask = get_mask("darts", 1)
    network = family_of(mask.space).supernet(mask, Size(2, 2), 2)
    algorithm = get_algorithm(name).compose(network, told)
    rates = [float(algorithm.learning_rate(step)) for step in (0, 4, 5, 10)]
    # By the epoch, from the start of the schedule to its end.
    assert rates[0] == rates[1] == pytest.approx(0.025)
    assert rates[1] > rates[2] > rates[3] == pytest.approx(0.001)
    assert get_algorithm(name).title


def test_unknown_names_and_what_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match="'dart'.* allowed: darts, darts_second_"):
        get_algorithm("dart")

    def make(network: Any, partial_channels: int) -> Any: ...

    with pytest.raises(ConfigError, match="'darts' is registered already"):
        register_algorithm("darts", make, title="another")
    with pytest.raises(ConfigError, match="cannot be told partial_channels: give a"):
        register_algorithm("new", make, title="new")
    assert "new" not in ALGORITHMS


@pytest.fixture
def command(tmp_path: Path, repo_root: Path) -> Any:
    """Runs `nas-jax` with the algorithm of the file, in a folder of its own."""
    shutil.copy(TINY, tmp_path / "config.py")

    def run(name: str, *flags: str) -> str:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "nas_jax.cli.main", name, f"--plugin={OWN}"),
                *("--config=config.py", "--config.search.algorithm=own_sigmoid"),
                *flags,
            ],
            env={**os.environ, "PYTHONPATH": str(repo_root)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def test_an_own_algorithm_searches_by_the_command(command: Any, tmp_path: Path) -> None:
    smaller = ["--config.search.epochs=1", "--config.space.num_nodes=1"]
    command("search", "--workdir=w", *smaller)
    found = json.loads((tmp_path / "w" / "genotype.json").read_text())
    rows = [
        json.loads(line)
        for line in (tmp_path / "w" / "search.jsonl").read_text().splitlines()
    ]
    assert rows[-1]["step"] == 4
    assert rows[-1]["weight_learning_rate"] is None
    # Its alphas start at zero, so all movement is that of its own optimiser.
    for weights in found["probabilities"].values():
        np.testing.assert_allclose(np.sum(weights, axis=1), 1, rtol=1e-5)
    assert found["decision"]["noise"] == pytest.approx(0, abs=1e-6)
    assert found["decision"]["moved"] > 0


def test_memory_asks_an_own_algorithm_for_its_loss(
    command: Any, tmp_path: Path
) -> None:
    command("memory", "--trace_only", "--kept=0.5", "--json=rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["residual_bytes"] > 0
