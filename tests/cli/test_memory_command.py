"""`nas-jax memory` from the command line: what it prints and writes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
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


class Run:
    """A finished run: what it said, and its JSON."""

    def __init__(self, folder: Path, flags: list[str], own_process: bool) -> None:
        self.folder = folder
        file = folder / "rows.json"
        flags = [*flags, f"--mask={folder / 'mask.json'}", f"--json={file}"]
        if own_process:
            result = subprocess.run(
                [sys.executable, "-m", "nas_jax.cli.main", "memory", *flags],
                env={**os.environ, "PYTHONPATH": str(REPO_ROOT)},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
            )
            code, self.out, self.log = result.returncode, result.stdout, result.stderr
        else:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                code = main(["memory", *flags])
            self.out, self.log = said.getvalue(), ""
        assert code == 0, self.log
        self.json = json.loads(file.read_text())
        self.rows: list[dict[str, Any]] = self.json["rows"]


@pytest.fixture(scope="module")
def command(memory_folder: Path, memory_flags: list[str]) -> Callable[..., Run]:
    """A run of `nas-jax memory`; only one of its own process has a log."""
    return lambda *flags, own_process=False: Run(
        memory_folder, [*memory_flags, *flags], own_process
    )


@pytest.fixture(scope="module")
def run(command: Callable[..., Run]) -> Run:
    return command("--batch=8,16", "--chart=chart.svg", own_process=True)


def test_a_row_for_each_combination(run: Run) -> None:
    assert run.json["complete"] is True
    assert run.json["network"] == {"channels": 2, "layers": 3}
    assert run.json["images"]["num_train"] == 64
    assert run.json["versions"]["jax"] == importlib.metadata.version("jax")
    mask = str(run.folder / "mask.json")
    settings = {"mask": mask, "kept_fraction": 0.25, "target": "cpu"}
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


def test_tracing_alone(command: Callable[..., Run], run: Run) -> None:
    traced = command("--remat=none,op,wave", "--trace_only")
    plain, loop, wave = traced.rows
    assert plain["residual_bytes"] == run.rows[0]["residual_bytes"]
    assert loop["residual_bytes"] < plain["residual_bytes"]
    assert wave["residual_bytes"] < plain["residual_bytes"]
    assert not {"target", "peak_bytes", "compile_seconds"} & set(plain)
    assert "peak" not in traced.out.splitlines()[0]


def test_a_budget_on_a_cpu(command: Callable[..., Run], run: Run) -> None:
    small, large = (row["peak_bytes"] for row in run.rows)
    flags = ("--batch=16", "--remat=none", "--dtype=float32")
    found = command(*flags, f"--budget={(small + large) // 2}")
    paste = found.out.splitlines()[-1].split()
    assert paste == found.json["overrides"]
    assert "--config.search.batch_size=16" in paste
    assert found.json["chosen"]["peak_bytes"] <= (small + large) // 2
    # The whole batch is too much and is known to be: at most one other was compiled.
    assert found.json["chosen"]["microbatches"] > 1
    assert len(found.rows) <= 2


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
    command: Callable[..., Run], target: str, packages: list[str]
) -> None:
    needs(*packages)
    (row,) = command(f"--target={target}").rows
    assert row["target"] == target
    assert row["peak_bytes"] > row["temp_bytes"] > row["residual_bytes"] / 3 > 0


def test_a_file_that_the_compiler_does_not_understand(
    memory_folder: Path, memory_flags: list[str], tmp_path: Path, capfd: Any
) -> None:
    needs("jax-cuda12-plugin", "jax-cuda12-pjrt")
    from nas_jax.memory import find_target

    file = tmp_path / "mine.textproto"
    file.write_text(find_target("h100").config.replace("132", "many"))
    mask = f"--mask={memory_folder / 'mask.json'}"
    assert main(["memory", *memory_flags, mask, f"--target={file}"]) == 2
    out, err = capfd.readouterr()
    assert out == "" and "GpuTargetConfig" in err and err.count("\n") == 1
