"""Bad input: one line that says what is wrong, exit code 2, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas_jax.cli.main import main

CONFIG = """
from nas_jax.config import (
    DataConfig, ExperimentConfig, PruneConfig, RetrainConfig, SearchConfig, SpaceConfig
)


def get_config():
    # Eight training images: the search has four of them for the weights.
    small = dict(channels=2, layers=3, batch_size=4)
    return ExperimentConfig(
        data=DataConfig(
            source="synthetic", image_size=8, num_classes=4, num_train=8, num_test=4
        ),
        space=SpaceConfig(num_nodes=1),
        prune=PruneConfig(level=0.0, **small),
        search=SearchConfig(epochs=1, **small),
        retrain=RetrainConfig(epochs=1, **small),
    )
"""
GENES = "normal=[('skip_connect', 0), ('skip_connect', 1)], reduce="

Files = dict[str, tuple[bytes, int]]


def tree(folder: Path) -> Files:
    """Content and time of writing of everything in a folder.

    Not the time of folders: a lock comes and goes in a workdir.
    """
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime_ns if path.is_file() else 0,
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config.py").write_text(CONFIG)
    return f"--config={tmp_path / 'config.py'}"


Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must fail, checks how, and returns the one line."""

    def run(*arguments: str, started: tuple[str, ...] = ()) -> str:
        before = tree(tmp_path)
        capfd.readouterr()
        code = main(list(arguments))
        out, err = capfd.readouterr()
        assert code == 2
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("nas-jax: error: ")
        after = tree(tmp_path)
        assert {name: after[name] for name in after if name not in started} == before
        return lines[0]

    return run


@pytest.fixture
def run_refused(refused: Refused, config: str, tmp_path: Path) -> Refused:
    """The same for `run` with a config that is right by itself."""

    def run(*flags: str) -> str:
        return refused("run", config, f"--workdir={tmp_path / 'run'}", *flags)

    return run


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        (
            ["conv_9x9", "skip_connect"],
            ["unknown operation 'conv_9x9'", "sep_conv_3x3"],
        ),
        ([], ["edge 1 (1, 2) of cell 'reduce'", "cuts it"]),
        (["none"], ["node 2 of cell 'reduce'", "needs 2"]),
    ],
)
def test_mask(run_refused, tmp_path, edge, said) -> None:
    full = [["none", "skip_connect"], ["none", "skip_connect"]]
    from nas_jax.spaces import get_space

    mask = {
        "space": get_space("darts", 1).name,
        "cells": {"normal": full, "reduce": [full[0], edge]},
    }
    (tmp_path / "mask.json").write_text(json.dumps(mask))
    line = run_refused(f"--config.space.mask={tmp_path / 'mask.json'}")
    assert all(text in line for text in said), line


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for index in range(4):
            pixels = np.random.default_rng(index).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "images"


def folder_flags(images: Path) -> list[str]:
    return [
        "--config.data.source=folder",
        f"--config.data.path={images}",
        "--config.data.image_size=0",
    ]


def test_damaged_image(run_refused, images) -> None:
    file = images / "dog" / "2.png"
    file.write_bytes(file.read_bytes()[:60])
    assert f"{file} cannot be read as an image" in run_refused(*folder_flags(images))


@pytest.mark.parametrize("below", ["file", "file/deeper/run"])
def test_workdir_that_cannot_be_written(refused, config, tmp_path, below) -> None:
    (tmp_path / "file").write_text("a regular file")
    line = refused("run", config, f"--workdir={tmp_path / below}")
    assert str(tmp_path / below) in line


def test_workdir_of_another_experiment(refused, config, tmp_path) -> None:
    flags = [config, f"--workdir={tmp_path / 'run'}"]
    assert main(["prune", *flags]) == 0
    line = refused("prune", *flags, "--config.prune.level=0.25")
    assert "prune.level: 0.0, now 0.25" in line
    assert "seed" not in line


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch MARKER')",
        f"Genotype({GENES}__import__('os').system('touch MARKER'))",
        f"Genotype({GENES}[], x=open('MARKER', 'w'))",
        f"(lambda: open('MARKER', 'w'))() or Genotype({GENES}[])",
        f"Genotype({GENES}[('teleport', 0), ('skip_connect', 1)])",
        "Genotype(",
        "",
    ],
)
def test_genotype(refused, config, tmp_path, monkeypatch, code) -> None:
    monkeypatch.chdir(tmp_path)
    flags = [config, f"--workdir={tmp_path / 'run'}", f"--genotype={code}"]
    line = refused("retrain", *flags)
    assert "genotype" in line or "'teleport'; allowed:" in line
    assert not (tmp_path / "MARKER").exists()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.prune.batch_size=9", ["prune.batch_size", "9", "8"]),
        ("--config.search.batch_size=5", ["search.batch_size", "5", "4"]),
        ("--config.search.train_fraction=0.8", ["search.batch_size", "4", "2"]),
        ("--config.retrain.batch_size=9", ["retrain.batch_size", "9", "8"]),
    ],
)
def test_batch_larger_than_the_data(refused, config, tmp_path, flag, said) -> None:
    # Already the first command says so, not the stage that it is about.
    line = refused("prune", config, f"--workdir={tmp_path / 'run'}", flag)
    assert all(text in line for text in said), line


def test_report_of_a_folder_without_a_run(refused, tmp_path) -> None:
    refused("report", f"--workdir={tmp_path / 'none'}")
