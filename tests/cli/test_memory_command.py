"""`nas-jax memory` from the command line: what it prints, writes and refuses."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_jax.cli.main import main

REPO_ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
from nas_jax.config import (
    DataConfig, ExperimentConfig, PruneConfig, RetrainConfig, SearchConfig, SpaceConfig
)


def get_config():
    small = dict(channels=2, layers=3, batch_size=8)
    return ExperimentConfig(
        name="tiny",
        data=DataConfig(
            source="synthetic", image_size=8, channels=1, num_classes=3, num_train=64,
            num_test=16, crop_padding=1,
        ),
        space=SpaceConfig(num_nodes=1),
        prune=PruneConfig(level=0.5, **small),
        search=SearchConfig(epochs=1, remat="none", **small),
        retrain=RetrainConfig(epochs=1, **small),
    )
"""
POOLS = ["max_pool_3x3", "skip_connect"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, and a mask whose step compiles fast."""
    folder = tmp_path_factory.mktemp("memory")
    (folder / "config.py").write_text(CONFIG)
    from nas_jax.spaces import get_space

    cells = dict.fromkeys(("normal", "reduce"), [POOLS, POOLS])
    name = get_space("darts", 1).name
    (folder / "mask.json").write_text(json.dumps({"space": name, "cells": cells}))
    return folder


def start(folder: Path, *flags: str) -> tuple[int, str, str]:
    """The command in a process of its own: code, stdout, stderr."""
    command = [sys.executable, "-m", "nas_jax.cli.memory"]
    result = subprocess.run(
        [*command, f"--config={folder / 'config.py'}", *flags],
        env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return result.returncode, result.stdout, result.stderr


class Run:
    """A finished run: what it said, and its JSON."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        file = folder / "rows.json"
        self.code, self.out, self.log = start(folder, f"--json={file}", *flags)
        assert self.code == 0, self.log
        self.json = json.loads(file.read_text())
        self.rows: list[dict[str, Any]] = self.json["rows"]


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return Run(folder, "--mask=mask.json", "--batch=8,16", "--chart=chart.svg")


def test_a_row_for_each_combination(run: Run) -> None:
    assert run.json["complete"] is True
    assert run.json["network"] == {"channels": 2, "layers": 3}
    assert run.json["images"]["num_train"] == 64
    assert run.json["versions"]["jax"] == importlib.metadata.version("jax")
    settings = {"mask": "mask.json", "kept_fraction": 0.25, "target": "cpu"}
    settings |= {"remat": "none", "dtype": "float32", "microbatches": 1}
    assert [{**row, **settings} for row in run.rows] == run.rows
    assert [row["batch"] for row in run.rows] == [8, 16]


def test_bytes_of_a_row(run: Run) -> None:
    for row in run.rows:
        whole = row["temp_bytes"] + row["argument_bytes"] + row["output_bytes"]
        assert row["peak_bytes"] == whole - row["alias_bytes"]
        # 64 images of 8x8 bytes with a label each are an argument, and no result.
        assert row["argument_bytes"] - row["alias_bytes"] >= 64 * (64 + 4)
        # The weights, alphas and their optimisers' states are donated.
        assert row["alias_bytes"] > 0
        assert row["flops"] > 0
        assert row["trace_seconds"] > 0 and row["compile_seconds"] > 0
    small, large = run.rows
    assert 1.5 * small["temp_bytes"] < large["temp_bytes"] < 3 * small["temp_bytes"]
    ratio = large["residual_bytes"] / small["residual_bytes"]
    assert ratio == pytest.approx(2, rel=0.05)


def test_the_table_and_the_progress(run: Run) -> None:
    lines = run.out.splitlines()
    assert lines[0].split()[:4] == ["target", "mask", "kept", "remat"]
    assert [line.split()[:2] for line in lines[1:3]] == 2 * [["cpu", "mask.json"]]
    assert "row 1 of 2: cpu, kept 0.250 (mask.json)" in run.log
    assert "row 2 of 2, about" in run.log
    assert run.log.count("compiled in") == 2
    # Nothing but these lines.
    assert len(run.log.splitlines()) == 4, run.log


def test_the_chart(run: Run) -> None:
    chart = (run.folder / "chart.svg").read_text()
    assert chart.startswith("<?xml")
    for text in ("tiny: device memory", "batch 16", "peak, MiB", "temporaries"):
        assert text in chart
    # What all rows share is said once.
    assert chart.count("remat none") == 1
    assert not list(run.folder.glob(".*"))


def test_the_step_of_a_run_has_the_same_memory(run: Run) -> None:
    # What `nas-jax run` would compile, in this process.
    from nas_jax.cli import app, stages
    from nas_jax.spaces import SpaceMask
    from nas_jax.workdir import Workdir

    config = app.load_config(str(run.folder / "config.py"))
    dataset, space, _ = stages.load_data(config)
    mask = SpaceMask.from_json(space, (run.folder / "mask.json").read_text())
    experiment = stages.Experiment(config, Workdir(""), dataset, space, mask)
    darts, _ = stages.algorithm(experiment, mask, 4)
    memory = stages._search_step(experiment, darts).memory
    assert memory.peak_bytes == run.rows[0]["peak_bytes"]


def test_tracing_alone(folder: Path, run: Run) -> None:
    flags = ("--mask=mask.json", "--remat=none,op", "--trace_only")
    traced = Run(folder, *flags)
    plain, loop = traced.rows
    assert plain["residual_bytes"] == run.rows[0]["residual_bytes"]
    assert loop["residual_bytes"] < plain["residual_bytes"]
    assert not {"target", "peak_bytes", "compile_seconds"} & set(plain)
    assert "peak" not in traced.out.splitlines()[0]


def test_a_budget_on_a_cpu(folder: Path, run: Run) -> None:
    small, large = (row["peak_bytes"] for row in run.rows)
    flags = ("--mask=mask.json", "--batch=16", "--remat=none", "--dtype=float32")
    found = Run(folder, *flags, f"--budget={(small + large) // 2}")
    paste = found.out.splitlines()[-1].split()
    assert paste == found.json["overrides"]
    assert "--config.search.batch_size=16" in paste
    assert found.json["chosen"]["peak_bytes"] <= (small + large) // 2
    # The whole batch is too much and is known to be: at most one other was compiled.
    assert found.json["chosen"]["microbatches"] > 1
    assert len(found.rows) <= 2


Refused = Callable[..., str]


@pytest.fixture
def refused(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Runs the command, which must fail before it starts a process."""
    monkeypatch.chdir(folder)
    # Neither does a mistake load JAX: the parent never does.
    monkeypatch.setattr(subprocess, "Popen", None)

    def run(*flags: str) -> str:
        before = sorted(folder.iterdir())
        assert main(["memory", f"--config={folder / 'config.py'}", *flags]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("nas-jax: error: ") and err.count("\n") == 1
        assert sorted(folder.iterdir()) == before
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


def test_a_mask_that_cuts_an_edge(refused: Refused, folder: Path, tmp_path) -> None:
    mask = json.loads((folder / "mask.json").read_text())
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


def test_images_that_the_network_cannot_halve(folder: Path) -> None:
    code, out, err = start(folder, "--mask=mask.json", "--image_shape=10x10x1")
    assert (code, out) == (2, "")
    assert "10x10" in err and "multiples of 4" in err and "row" not in err


class FakeChild:
    """Answers at once; steps with convolutions in it need more than the budget."""

    asked: list[dict[str, Any]] = []
    fails = 0

    def __init__(self, target: Any, setup: dict[str, Any]) -> None:
        self.target, self.facts = target, {"num_train": 64}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        from nas_jax.cli.memory_child import CompilerFailedError

        FakeChild.asked.append(request)
        if FakeChild.fails:
            FakeChild.fails -= 1
            raise CompilerFailedError("it said: no")
        kept = sum(
            len(ops) for edges in request["mask"]["cells"].values() for ops in edges
        )
        size = (
            1000 * kept * {"none": 9, "op": 1, "wave": 3, "cell": 2}[request["remat"]]
        )
        size //= 1 + (request["dtype"] == "bfloat16")
        answer: dict[str, Any] = {}
        if request["residuals"]:
            answer |= {"residual_bytes": size, "residual_seconds": 0.1}
        if request["compile"]:
            use = size // request["microbatches"] + 5000
            answer |= {"temp_bytes": use - 5000, "argument_bytes": 5000}
            answer |= {"output_bytes": 0, "alias_bytes": 0, "peak_bytes": use}
            answer |= {"flops": None, "refused": False}
            answer |= {"trace_seconds": 1.0, "compile_seconds": 2.0}
        return answer

    def close(self) -> None:
        pass

    def __enter__(self) -> FakeChild:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Callable[..., int]:
    from nas_jax.cli import memory

    monkeypatch.setattr(memory, "Child", FakeChild)
    monkeypatch.setattr(memory, "require_compiler", lambda target: None)
    FakeChild.asked, FakeChild.fails = [], 0

    def run(*flags: str) -> int:
        return main(["memory", f"--config={folder / 'config.py'}", *flags])

    return run


def compilations() -> list[dict[str, Any]]:
    return [request for request in FakeChild.asked if request["compile"]]


def test_a_budget_that_everything_fits(fake, capsys) -> None:
    assert fake("--target=tpu-v5e", "--budget=1GiB") == 0
    assert len(compilations()) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "fits 1.00 GiB on tpu-v5e" in lines[-2]
    assert lines[-1] == "--config.search.dtype=bfloat16"


def test_a_tight_budget_changes_more(fake, capsys) -> None:
    # 16 operations with convolutions: 8,000 bytes of half precision in op remat.
    assert fake("--target=h100", "--budget=8kB", "--kept=1") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "--config.search.remat=op" in line
    assert "--config.search.dtype=bfloat16" in line
    assert "--config.prune.level=0.0" in line
    # One for each kind of remat, of 32 combinations.
    assert len(compilations()) <= 4


def test_stronger_pruning_is_the_last_resort(fake, capsys, tmp_path) -> None:
    # The asked level, at its smallest, needs 5,000 + 16 * 1000 / 2 / 8 bytes.
    file = tmp_path / "rows.json"
    assert fake("--target=h100", "--budget=5600", f"--json={file}") == 0
    chosen = json.loads(file.read_text())["chosen"]
    assert chosen["kept_fraction"] < 0.5
    assert "--config.prune.level=" in capsys.readouterr().out.splitlines()[-1]


def test_a_budget_that_nothing_fits(fake, capsys, tmp_path) -> None:
    assert fake("--target=h100", "--budget=4kB") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("nas-jax: error: nothing fits 3.91 KiB on h100")
    assert "the smallest needs" in line and "--config.search.remat=op" in line
    # One of each kind at the asked level, and the smallest of three kinds.
    assert len(compilations()) <= 7


def test_a_failed_row_does_not_stop_the_others(fake, capsys, tmp_path) -> None:
    FakeChild.fails = 1
    file, chart = tmp_path / "rows.json", tmp_path / "chart.png"
    flags = ("--target=tpu-v5e,h100", "--kept=1", f"--json={file}", f"--chart={chart}")
    assert fake(*flags) == 1
    failed, good = json.loads(file.read_text())["rows"]
    assert failed["error"] == "it said: no" and "peak_bytes" not in failed
    assert good["target"] == "h100" and good["peak_bytes"] > 0
    assert "tpu-v5e, kept 1.000 (all)" in capsys.readouterr().out
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_residuals_are_traced_once_for_all_targets(fake) -> None:
    assert fake("--target=tpu-v5e,h100,a100", "--kept=1,0.5") == 0
    assert len(compilations()) == 6
    assert sum(request["residuals"] for request in FakeChild.asked) == 2


def needs(*packages: str) -> None:
    for package in packages:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"needs the compiler in {package}, of the extra aot")


@pytest.mark.parametrize(
    ("target", "packages"),
    [
        ("tpu-v5e", ["libtpu"]),
        ("h100", ["jax-cuda12-plugin", "jax-cuda12-pjrt"]),
    ],
)
def test_a_device_that_is_not_there(
    folder: Path, target: str, packages: list[str]
) -> None:
    needs(*packages)
    run = Run(folder, f"--target={target}", "--mask=mask.json")
    (row,) = run.rows
    assert row["target"] == target
    assert row["peak_bytes"] > row["temp_bytes"] > row["residual_bytes"] / 3 > 0
    # The parent stays quiet, and the child's compiler is not heard.
    assert len(run.log.splitlines()) == 2, run.log


def test_a_file_that_the_compiler_does_not_understand(folder: Path, tmp_path) -> None:
    needs("jax-cuda12-plugin", "jax-cuda12-pjrt")
    from nas_jax.memory import find_target

    file = tmp_path / "mine.textproto"
    file.write_text(find_target("h100").config.replace("132", "many"))
    code, out, err = start(folder, f"--target={file}", "--mask=mask.json")
    assert (code, out) == (2, "")
    assert "GpuTargetConfig" in err and err.count("\n") == 1


def test_the_published_setting_needs_no_images(capsys, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    from nas_jax.cli.app import load_config
    from nas_jax.cli.memory_data import ImageFacts, image_facts

    config = load_config(str(REPO_ROOT / "configs" / "darts_cifar10.py"))
    config.validate()
    assert image_facts(config.data, "", 0, 0) == ImageFacts((32, 32, 3), 10, 50_000)
    own = load_config(f"{REPO_ROOT / 'configs' / 'darts_cifar10.py'}:own.npz")
    assert (own.data.source, own.data.path, own.data.name) == ("npz", "own.npz", "")
