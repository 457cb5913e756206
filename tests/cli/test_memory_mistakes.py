"""`nas-jax memory` refuses what cannot be done before it starts a process."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nas_jax.cli.main import main

Refused = Callable[..., str]


@pytest.fixture
def refused(
    memory_folder: Path,
    memory_flags: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Refused:
    """Runs the command, which must fail before it starts a process."""
    monkeypatch.chdir(memory_folder)
    # Neither does a mistake load JAX: the parent never does.
    monkeypatch.setattr(subprocess, "Popen", None)

    def run(*flags: str) -> str:
        before = sorted(memory_folder.iterdir())
        assert main(["memory", *memory_flags, *flags]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("nas-jax: error: ") and err.count("\n") == 1
        assert sorted(memory_folder.iterdir()) == before
        return err

    return run


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--target=h10"], ["'h10'", "did you mean 'h100'", "cpu, tpu-v5e, tpu-v5p"]),
        (["--target=no/such.textproto"], ["no/such.textproto", "No such file"]),
        (["--target=config.py"], ["config.py lacks gpu_device_info"]),
        (["--remat=most"], ["--remat is 'most'", "none, op, wave, cell"]),
        (["--dtype=int8"], ["--dtype is 'int8'", "float32, bfloat16"]),
        (["--kept=2"], ["--kept is 2"]),
        (["--mask=none.json"], ["cannot read none.json"]),
        (["--mask=config.py"], ["the mask is not JSON"]),
        (["--budget=16G"], ["'16G' is no number of bytes", "16GiB"]),
        (["--budget=1GiB", "--target=cpu,h100"], ["--budget is for one device"]),
        (["--budget=1GiB", "--trace_only"], ["--budget needs compiled steps"]),
        (["--workdir=w"], ["--workdir", "--mask=WORKDIR/prune.json", "--json"]),
        (["--json=no/rows.json"], ["--json=no/rows.json", "create its folder"]),
        (["--chart=."], ["--chart=. is a folder"]),
        (["--chart=rows.pdf"], ["--chart=rows.pdf", ".svg or .png"]),
        (["--num_train=-1"], ["num_train"]),
        (["--batch=8", "--microbatches=3"], ["3 microbatches do not divide"]),
    ],
)
def test_mistakes(refused: Refused, flags: list[str], said: list[str]) -> None:
    line = refused(*flags)
    assert all(text in line for text in said), line


def test_a_mask_that_cuts_an_edge(
    refused: Refused, memory_folder: Path, tmp_path: Path
) -> None:
    mask = json.loads((memory_folder / "mask.json").read_text())
    mask["cells"]["reduce"][1] = []
    (tmp_path / "cut.json").write_text(json.dumps(mask))
    line = refused(f"--mask={tmp_path / 'cut.json'}")
    assert "edge 1 (1, 2) of cell 'reduce' keeps no operation" in line


@pytest.mark.parametrize(
    ("target", "package"), [("tpu-v6e", "libtpu"), ("a100", "jax-cuda12-plugin")]
)
def test_a_compiler_that_is_not_installed(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, target: str, package: str
) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    line = refused(f"--target={target}")
    assert package in line and "pip install 'nas_jax[aot]'" in line
