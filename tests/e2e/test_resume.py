"""Runs that a signal ends in the middle, and that go on to the same result."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from nas_jax.run import loop
from nas_jax.run.interrupt import STOPPED

# Sends a signal to its own process right after a row was written: a real signal, at a
# step that does not depend on the machine's speed.
DRIVER = """
import os, sys
from pathlib import Path
from nas_jax.cli.main import main
from nas_jax.run import loop

log, step, number, every, *arguments = sys.argv[1:]
loop.CHECKPOINT_SECONDS = float(every)


class Writer(loop.JsonlWriter):
    def __init__(self, path, resume_step=None, made_from=""):
        super().__init__(path, resume_step, made_from)
        self.name = Path(path).name

    def write(self, at, metrics):
        super().write(at, metrics)
        if self.name == log and at == int(step) - 3:
            loop.CHECKPOINT_SECONDS = 1e9
        if self.name == log and at == int(step):
            os.kill(os.getpid(), int(number))


loop.JsonlWriter = Writer
sys.exit(main(["run", *arguments]))
"""
TERM, KILL, INT = (
    str(int(number)) for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
)


def steps(workdir: Path, name: str) -> list[int]:
    lines = (workdir / name).read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def checkpoints(workdir: Path, stage: str) -> list[int]:
    return sorted(
        int(path.name) for path in (workdir / "checkpoints" / stage).iterdir()
    )


def test_a_run_that_is_ended_five_times(
    cli, tiny, reference, results, tmp_path
) -> None:
    """Killed and stopped in both loops, it goes on to the same result, bit for bit."""
    workdir = tmp_path / "run"
    flags = (tiny, f"--workdir={workdir}")

    def ended(log: str, step: int, number: str, every: str = "1e9") -> str:
        driven = (f"{log}.jsonl", str(step), number, every)
        code, stdout, stderr = cli.start(*driven, *flags, script=DRIVER)
        assert code == (-signal.SIGKILL if number == KILL else STOPPED)
        assert "Traceback" not in stderr and "report" not in stdout
        return str(stderr)

    ended("search", 9, KILL, every="0")
    # Rows after the last checkpoint are there; the resumed run writes them again.
    assert checkpoints(workdir, "search") == [4, 5]
    assert steps(workdir, "search.jsonl") == list(range(1, 10))

    said = ended("search", 13, INT)
    assert "search stopped by SIGINT and saved at step 13" in said
    assert "goes on from there" in said
    assert checkpoints(workdir, "search") == [5, 13]
    assert steps(workdir, "search.jsonl") == list(range(1, 14))

    # After the last step.
    assert "saved at step 40" in ended("search", 40, TERM)
    assert not (workdir / "genotype.json").exists()

    # Step 20 is in the middle of the third epoch of 8 steps.
    assert "retrain stopped by SIGTERM and saved at step 20" in ended(
        "retrain", 20, TERM
    )
    assert results.search(workdir) == results.search(reference)
    assert checkpoints(workdir, "retrain") == [20]

    ended("retrain", 29, KILL, every="0")
    assert checkpoints(workdir, "retrain") == [24, 25]
    assert not (workdir / "retrain.json").exists()

    assert cli.main("run", *flags) == 0
    assert results.all(workdir) == results.all(reference)


def test_states_that_are_not_finite_push_no_finite_one_out(
    cli, tiny, pools, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    workdir = tmp_path / "run"
    options = ("weight_learning_rate=1e30", "log_every=99")
    flags = [f"--config.search.{option}" for option in options]
    assert cli.main("search", tiny, pools, f"--workdir={workdir}", *flags) == 2
    lines = capfd.readouterr().err.splitlines()
    (line,) = [line for line in lines if "nas-jax: error" in line]
    kept = checkpoints(workdir, "search")
    assert "not finite" in line
    assert f"the last good checkpoint is of step {kept[-1]}" in line
    assert "new --workdir" in line
    for step in kept:
        assert all_finite(workdir / "checkpoints" / "search", step)


def all_finite(folder: Path, step: int) -> bool:
    import jax
    import jax.numpy as jnp
    from orbax.checkpoint import v1 as ocp

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    structure = json.loads((folder / str(step) / "structure.json").read_text())
    wanted = {}
    for name, text in structure.items():
        dtype, _, shape = text.removesuffix("]").partition("[")
        sizes = [int(size) for size in shape.split(",") if size]
        if 0 not in sizes:
            wanted[name] = jax.ShapeDtypeStruct(sizes, dtype, sharding=here)
    arrays = ocp.load(folder / str(step) / "arrays", wanted)
    return all(bool(jnp.isfinite(array).all()) for array in arrays.values())
