"""`nas-jax memory` from the command line: what it prints and writes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPO_ROOT = Path(__file__).resolve().parents[2]


class Command:
    """Starts `nas-jax memory` in a process of its own."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.folder, self._flags = folder, flags

    def start(self, *flags: str) -> tuple[int, str, str]:
        """Code, stdout, stderr."""
        result = subprocess.run(
            [sys.executable, "-m", "nas_jax.cli.memory", *self._flags, *flags],
            env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return result.returncode, result.stdout, result.stderr


class Run:
    """A finished run: what it said, and its JSON."""

    def __init__(self, command: Command, *flags: str) -> None:
        self.folder = command.folder
        file = self.folder / "rows.json"
        self.code, self.out, self.log = command.start(f"--json={file}", *flags)
        assert self.code == 0, self.log
        self.json = json.loads(file.read_text())
        self.rows: list[dict[str, Any]] = self.json["rows"]


@pytest.fixture(scope="module")
def command(memory_folder: Path, memory_flags: list[str]) -> Command:
    return Command(memory_folder, memory_flags)


@pytest.fixture(scope="module")
def run(command: Command) -> Run:
    return Run(command, "--mask=mask.json", "--batch=8,16", "--chart=chart.svg")


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


def test_the_step_of_a_run_has_the_same_memory(
    run: Run, memory_flags: list[str]
) -> None:
    # What `nas-jax run` would compile, in this process.
    from nas_jax.cli import app
    from nas_jax.run.experiment import Experiment, load_data
    from nas_jax.run.search import algorithm, search_step
    from nas_jax.spaces import SpaceMask
    from nas_jax.workdir import Workdir

    calls: list[app.Call] = []
    assert (
        app.run(calls.append, memory_flags, name="x", help_text="", needs_workdir=False)
        == 0
    )
    config = calls[0].config
    dataset, space, _ = load_data(config)
    mask = SpaceMask.load(space, run.folder / "mask.json")
    experiment = Experiment(config, Workdir(""), dataset, space, mask)
    darts = algorithm(experiment, mask, 4)
    memory = search_step(experiment, darts).memory
    assert memory.peak_bytes == run.rows[0]["peak_bytes"]


def test_tracing_alone(command: Command, run: Run) -> None:
    flags = ("--mask=mask.json", "--remat=none,op,wave", "--trace_only")
    traced = Run(command, *flags)
    plain, loop, wave = traced.rows
    assert plain["residual_bytes"] == run.rows[0]["residual_bytes"]
    assert loop["residual_bytes"] < plain["residual_bytes"]
    assert wave["residual_bytes"] < plain["residual_bytes"]
    assert not {"target", "peak_bytes", "compile_seconds"} & set(plain)
    assert "peak" not in traced.out.splitlines()[0]


def test_a_budget_on_a_cpu(command: Command, run: Run) -> None:
    small, large = (row["peak_bytes"] for row in run.rows)
    flags = ("--mask=mask.json", "--batch=16", "--remat=none", "--dtype=float32")
    found = Run(command, *flags, f"--budget={(small + large) // 2}")
    paste = found.out.splitlines()[-1].split()
    assert paste == found.json["overrides"]
    assert "--config.search.batch_size=16" in paste
    assert found.json["chosen"]["peak_bytes"] <= (small + large) // 2
    # The whole batch is too much and is known to be: at most one other was compiled.
    assert found.json["chosen"]["microbatches"] > 1
    assert len(found.rows) <= 2


def test_images_that_the_network_cannot_halve(command: Command) -> None:
    code, out, err = command.start("--mask=mask.json", "--image_shape=10x10x1")
    assert (code, out) == (2, "")
    assert "10x10" in err and "multiples of 4" in err and "row" not in err


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
    command: Command, target: str, packages: list[str]
) -> None:
    needs(*packages)
    run = Run(command, f"--target={target}", "--mask=mask.json")
    (row,) = run.rows
    assert row["target"] == target
    assert row["peak_bytes"] > row["temp_bytes"] > row["residual_bytes"] / 3 > 0
    # The parent stays quiet, and the child's compiler is not heard.
    assert len(run.log.splitlines()) == 2, run.log


def test_a_file_that_the_compiler_does_not_understand(
    command: Command, tmp_path: Path
) -> None:
    needs("jax-cuda12-plugin", "jax-cuda12-pjrt")
    from nas_jax.memory import find_target

    file = tmp_path / "mine.textproto"
    file.write_text(find_target("h100").config.replace("132", "many"))
    code, out, err = command.start(f"--target={file}", "--mask=mask.json")
    assert (code, out) == (2, "")
    assert "GpuTargetConfig" in err and err.count("\n") == 1


def test_the_published_setting_needs_no_images() -> None:
    from nas_jax.cli.arguments import load_config
    from nas_jax.run.memory_data import sized_images

    file = REPO_ROOT / "configs" / "darts_cifar10.py"
    images = sized_images(load_config(str(file)).data, "", 0, 0)
    assert (images.image_shape, images.num_train) == ((32, 32, 3), 50_000)
    own = load_config(f"{file}:own.npz")
    assert (own.data.source, own.data.path, own.data.name) == ("npz", "own.npz", "")
