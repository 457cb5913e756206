"""A workdir in which something was made from something else: refused, unchanged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.workdir import Workdir


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which names its latest holder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def write_npz(path: Path, labels: Callable[[Any], Any] = lambda y: y) -> None:
    """Random images of three classes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (64, 8, 8, 1), np.uint8)
    y = labels(np.repeat([0, 1, 2, 0], 16))
    np.savez(path, x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])


@pytest.fixture
def workdir(reference: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reference, tmp_path / "run"))


class Refused:
    """Calls a command that must be refused in one line, with nothing changed."""

    def __init__(self, cli: Any, capsys: Any) -> None:
        self._cli, self._capsys = cli, capsys

    def __call__(self, command: str, workdir: Path, *flags: str) -> str:
        before = contents(workdir)
        self._capsys.readouterr()
        assert self._cli.main(command, *flags, f"--workdir={workdir}") == 2
        assert contents(workdir) == before
        (line,) = [
            line
            for line in self._capsys.readouterr().err.splitlines()
            if line.startswith("nas-jax: error:")
        ]
        assert "workdir" in line
        return str(line)


@pytest.fixture
def refused(cli: Any, capsys: Any) -> Refused:
    return Refused(cli, capsys)


@pytest.mark.parametrize("command", ["prune", "run"])
def test_search_of_the_whole_space_is_not_joined_with_pruning(
    refused: Refused, tiny: str, workdir: Path, command: str
) -> None:
    for name in ("prune.json", "prune.jsonl"):
        (workdir / name).unlink()
    assert "made without prune.json" in refused(command, workdir, tiny)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.seed=3", "seed: 0, now 3"),
        ("--config.data.seed=3", "content of data has changed"),
        ("--config.prune.repeats=2", "config.prune.repeats: 1, now 2"),
        ("--config.search.epochs=11", "config.search.epochs: 10, now 11"),
        ("--config.retrain.epochs=6", "config.retrain.epochs: 5, now 6"),
        ("--config.data.crop_padding=2", "config.data.crop_padding: 1, now 2"),
    ],
)
@pytest.mark.parametrize("config", ["kept", "truncated"])
def test_finished_run_of_another_config_is_refused(
    refused: Refused, tiny: str, workdir: Path, flag: str, said: str, config: str
) -> None:
    if config == "truncated":
        (workdir / "config.json").write_text('{"name": "ti')
    assert said in refused("run", workdir, tiny, flag)


def test_fields_that_no_finished_stage_reads_may_change(
    cli: Any, tiny: str, workdir: Path
) -> None:
    """Also with a damaged config.json, which is a record and decides nothing."""
    (workdir / "config.json").write_text('{"name": "ti')
    before = (workdir / "genotype.json").read_bytes()
    flags = ("--config.name=other", "--config.data.num_test=16")
    assert cli.main("search", tiny, f"--workdir={workdir}", *flags) == 0
    assert (workdir / "genotype.json").read_bytes() == before
    assert json.loads((workdir / "config.json").read_text())["name"] == "other"
    assert (workdir / "config.json.damaged").read_text() == '{"name": "ti'


@pytest.mark.parametrize("left", ["prune.json", "prune.jsonl", "search.jsonl"])
def test_half_finished_stage_of_another_config_is_refused(
    refused: Refused, tiny: str, reference: Path, tmp_path: Path, left: str
) -> None:
    workdir = tmp_path / "run"
    workdir.mkdir()
    wanted = {"made_from.json", left}
    wanted |= {"prune.json", "prune.jsonl"} if left == "search.jsonl" else set()
    for name in wanted:
        shutil.copy(reference / name, workdir)
    changed = "prune.level=0.5" if "prune" in left else "search.epochs=9"
    said = refused("run", workdir, tiny, f"--config.{changed}")
    assert changed.partition("=")[0] in said and left in said


def test_checkpoint_of_another_mask_is_refused(
    refused: Refused, tiny: str, workdir: Path
) -> None:
    """Where shapes agree, it would be restored without a word."""
    for name in ("summary.json", "retrain.json", "retrain.jsonl"):
        (workdir / name).unlink()
    (step,) = (workdir / "checkpoints" / "retrain").iterdir()
    text = (step / "made_from.json").read_text()
    made = json.loads(text)
    made["from"]["genotype"] = "another one"
    (step / "made_from.json").write_text(json.dumps(made))
    said = refused("run", workdir, tiny)
    assert "genotype" in said and str(step) in said


def test_edited_mask_is_refused(refused: Refused, tiny: str, workdir: Path) -> None:
    stored = json.loads((workdir / "prune.json").read_text())
    stored["mask"]["cells"]["normal"][0] = ["skip_connect"]
    (workdir / "prune.json").write_text(json.dumps(stored))
    assert "it was edited" in refused("search", workdir, tiny)


def test_retraining_of_another_genotype_is_refused(
    refused: Refused, tiny: str, workdir: Path
) -> None:
    stored = json.loads((workdir / "genotype.json").read_text())["text"]
    for old, new in (("skip_connect", "max_pool_3x3"), ("sep_conv", "dil_conv")):
        other = stored.replace(old, new)
        if other != stored:
            break
    said = refused("retrain", workdir, tiny, f"--genotype={other}")
    assert "another genotype" in said and stored in said


FREE = ("--config.prune.strategy=random", "--config.prune.proxies=()")
"""Pruning that compiles nothing."""


def test_data_is_known_by_content_and_not_by_its_path(
    cli: Any, refused: Refused, tiny: str, tmp_path: Path
) -> None:
    data, moved, workdir = (tmp_path / name for name in ("d.npz", "moved.npz", "run"))
    write_npz(data)
    flags = [*FREE, "--config.data.source=npz", "--config.data.image_size=0"]
    here = [tiny, *flags, f"--config.data.path={data}"]
    assert cli.main("prune", *here, f"--workdir={workdir}") == 0
    before = (workdir / "prune.json").read_bytes()
    shutil.copy(data, moved)
    there = [tiny, *flags, f"--config.data.path={moved}"]
    assert cli.main("prune", *there, f"--workdir={workdir}") == 0
    assert (workdir / "prune.json").read_bytes() == before
    write_npz(data, labels=np.flip)
    assert "content of data has changed" in refused("prune", workdir, *here)


def test_start_mask_is_known_by_content(
    cli: Any, refused: Refused, tiny: str, tmp_path: Path
) -> None:
    from nas_jax.spaces import SpaceMask, get_space

    space = get_space("darts", 1)
    mask, workdir = tmp_path / "m.json", tmp_path / "run"
    mask.write_text(SpaceMask.full(space).to_json())
    flags = [tiny, *FREE, f"--config.space.mask={mask}"]
    assert cli.main("prune", *flags, f"--workdir={workdir}") == 0
    smaller = SpaceMask.full(space).drop([("normal", 0, "sep_conv_3x3")])
    mask.write_text(smaller.to_json())
    assert "content of mask has changed" in refused("prune", workdir, *flags)


def test_x64_is_part_of_what_a_run_is_made_from(
    refused: Refused, tiny: str, workdir: Path
) -> None:
    import jax

    with jax.enable_x64(True):
        said = refused("run", workdir, tiny)
    assert "JAX_ENABLE_X64: false, now true" in said


def test_second_process_is_refused(refused: Refused, tiny: str, workdir: Path) -> None:
    with Workdir(workdir).hold(["nas-jax", "run"]):
        said = refused("run", workdir, tiny)
    assert "is in use by process" in said


def test_artefact_as_an_input_is_refused(
    refused: Refused, tiny: str, workdir: Path
) -> None:
    mask = workdir / "prune.json"
    said = refused("run", workdir, tiny, f"--config.space.mask={mask}")
    assert "--config.space.mask" in said and "overwritten" in said


def test_environment_tells_data_command_and_folder(reference: Path) -> None:
    environment = json.loads((reference / "environment.json").read_text())
    assert environment["command"][:2] == ["nas-jax", "run"]
    assert Path(environment["working_directory"]).is_dir()
    assert environment["x64"] is False
    data = environment["data"]
    assert (data["source"], data["num_train"], data["num_classes"]) == (
        "synthetic",
        64,
        3,
    )
    assert np.array_equal(data["image_shape"], [8, 8, 1])
