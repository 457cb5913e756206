"""RobustDARTS' S4, whose noise draws anew in each call, through every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas_jax.spaces import get_space

SPACE = get_space("s4")
FLAGS = [
    "--config.space.name=s4",
    "--config.space.num_nodes=4",
    "--config.prune.level=0",
    "--config.search.epochs=1",
    "--config.search.alpha_learning_rate=0.1",
    "--config.retrain.epochs=1",
]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def workdir(cli: Any, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s4")
    for command in ("prune", "search", "retrain"):
        assert cli.main(command, tiny, *FLAGS, f"--workdir={folder}") == 0
    return folder
