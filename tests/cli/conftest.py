"""Folders with the configs that several of these tests start from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import logging

GOOD = """
from nas_jax.config import ExperimentConfig

def base():
    return ExperimentConfig()

def get_config(argument="full"):
    config = base()
    if argument == "smoke":
        config.search.epochs = 1
    elif argument != "full":
        raise ValueError(f"argument {argument!r} is not one of full, smoke")
    return config
"""


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    """Puts absl's verbosity back, which `run` raises for the whole process."""
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a config file; configs are named relative to it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    return tmp_path


@pytest.fixture(scope="module")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny config, and a mask whose step compiles fast."""
    from nas_jax.spaces import get_space

    folder = tmp_path_factory.mktemp("memory")
    shutil.copy(Path(__file__).with_name("tiny.py"), folder / "config.py")
    pools = ["max_pool_3x3", "skip_connect"]
    cells = dict.fromkeys(("normal", "reduce"), [pools, pools])
    name = get_space("darts", 1).name
    (folder / "mask.json").write_text(json.dumps({"space": name, "cells": cells}))
    return folder


@pytest.fixture(scope="module")
def memory_flags(memory_folder: Path) -> list[str]:
    """That config with three cells, one of which is normal, and without remat."""
    return [
        f"--config={memory_folder / 'config.py'}",
        "--config.search.layers=3",
        "--config.search.remat=none",
        "--config.prune.level=0.5",
    ]
