"""The stages as commands of their own, pruning switched off, and divergence."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas_jax.errors import ConfigError
from nas_jax.run import stages

FOREIGN = (
    "Genotype(normal=[('skip_connect', 0), ('max_pool_3x3', 1)], "
    "normal_concat=range(2, 3), reduce=[('avg_pool_3x3', 0), ('skip_connect', 1)], "
    "reduce_concat=range(2, 3))"
)


def read(workdir: Path, name: str) -> Any:
    return json.loads((workdir / name).read_text())


COMMANDS = """
import sys
from nas_jax.cli.main import main
for command in ("prune", "search", "retrain"):
    assert main([command, *sys.argv[1:]]) == 0
"""


def content(path: Path) -> Any:
    """What a file says, but for times and for how it was called."""
    rows = path.suffix == ".jsonl"
    lines = path.read_text().splitlines() if rows else [path.read_text()]
    passing = {"seconds", "steps_per_second", "date", "command", "earlier"}

    def lasting(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: lasting(v) for k, v in value.items() if k not in passing}
        return value

    return [lasting(json.loads(line)) for line in lines]


def test_separate_commands_leave_what_run_leaves(
    cli, tiny, reference, tmp_path
) -> None:
    """In a process of their own: the same inputs give the same result."""
    workdir = tmp_path / "run"
    code, out, err = cli.start(tiny, f"--workdir={workdir}", script=COMMANDS)
    assert code == 0, err
    assert cli.main("report", f"--workdir={workdir}") == 0

    def files(folder: Path) -> set[str]:
        found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        return {name for name in found if not name.startswith("checkpoints")}

    assert files(workdir) == files(reference)
    for name in files(workdir) - {"report.html"}:
        assert content(workdir / name) == content(reference / name), name
    # Genotype and decision of the search, shown by a page and by the command.
    summary = read(reference, "summary.json")
    kept, _, genotype, _, accuracy = out.splitlines()
    assert kept == "kept 8 of 32 operations"
    assert genotype == summary["genotype"]
    assert accuracy == f"test accuracy {summary['test_accuracy']:.4f}"
    pages = [(folder / "report.html").read_text() for folder in (workdir, reference)]
    headings = [re.findall("<h[1-4].*?</h[1-4]>", page) for page in pages]
    assert headings[0] == headings[1]
    assert not any('class="missing"' in page for page in pages)


OWN_STAGE = """
import runpy
from dataclasses import dataclass
from nas_jax.artefacts import Artefact
from nas_jax.identity import MadeFrom
from nas_jax.run.stages import Stage, register_stage

@dataclass(frozen=True)
class Length(Artefact):
    letters: int

register_stage(
    Stage(
        "length",
        needs=("search",),
        writes="length.json",
        kind=Length,
        made_from=lambda run, inputs: MadeFrom({"text": inputs["search"].text}),
        run=lambda run, inputs, interrupt: Length(len(inputs["search"].text)),
    ),
    after="search",
)
get_config = runpy.run_path(TINY)["get_config"]
"""


def test_a_stage_of_the_user_is_one_row_in_a_config(
    cli, tiny, reference, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setattr(stages, "STAGES", list(stages.STAGES))
    (tmp_path / "own.py").write_text(
        OWN_STAGE.replace("TINY", repr(tiny.partition("=")[2]))
    )
    own, workdir = f"--config={tmp_path / 'own.py'}", tmp_path / "run"
    shutil.copytree(reference, workdir)
    assert cli.main("retrain", own, f"--workdir={workdir}") == 0
    text = read(workdir, "genotype.json")["text"]
    stored = read(workdir, "length.json")
    assert stored["letters"] == len(text)
    assert stored["made_from"]["from"] == {"text": text}
    assert "test accuracy" in capfd.readouterr().out
    with pytest.raises(ConfigError, match="cannot add stage 'length'"):
        stages.register_stage(stages.STAGES[2])


def test_retrain_a_genotype_from_elsewhere(cli, tiny, tmp_path, capfd) -> None:
    (tmp_path / "genotype.txt").write_text(FOREIGN + "\n")
    workdir = tmp_path / "run"
    flags = (tiny, f"--workdir={workdir}", "--config.retrain.epochs=1")
    file = f"--genotype={tmp_path / 'genotype.txt'}"
    assert cli.main("retrain", *flags, file) == 0
    result = read(workdir, "retrain.json")
    assert result["genotype"] == FOREIGN
    assert 0 <= result["test_accuracy"] <= 1
    # Both have parameters of equal shapes: only the stored genotype tells them apart.
    other = FOREIGN.replace("('max_pool_3x3', 1)", "('avg_pool_3x3', 1)")
    capfd.readouterr()
    assert cli.main("retrain", *flags, f"--genotype={other}") == 2
    error = capfd.readouterr().err
    assert "another making: genotype" in error and "--workdir" in error
    assert read(workdir, "retrain.json") == result


def test_nothing_to_retrain_leaves_no_folder(cli, tiny, tmp_path, capfd) -> None:
    assert cli.main("retrain", tiny, f"--workdir={tmp_path / 'run'}") == 2
    assert "genotype.json is missing; run the stage" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pruning_level_0_keeps_all_unscored(cli, tiny, tmp_path) -> None:
    workdir = tmp_path / "run"
    flags = (tiny, f"--workdir={workdir}", "--config.prune.level=0")
    assert cli.main("prune", *flags) == 0
    prune = read(workdir, "prune.json")
    assert (prune["kept"], prune["total"], prune["kept_fraction"]) == (32, 32, 1.0)
    assert all(row["kept"] and row["score"] is None for row in prune["operations"])
    assert all(
        len(ops) == 8 for edges in prune["mask"]["cells"].values() for ops in edges
    )


@pytest.mark.parametrize("stage", ["search", "retrain"])
def test_divergence_stops_with_one_line(
    cli, tiny, pools, tmp_path, stage, capfd
) -> None:
    workdir = tmp_path / "run"
    name = {"search": "weight_learning_rate", "retrain": "learning_rate"}[stage]
    flags = [tiny, pools, f"--workdir={workdir}", f"--config.{stage}.{name}=1e9"]
    if stage == "retrain":
        flags.append(f"--genotype={FOREIGN}")
    assert cli.main(stage, *flags) == 2
    lines = capfd.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("nas-jax: error:")]
    assert len(errors) == 1
    assert f"{stage}: the loss is" in errors[0]
    assert "at step " in errors[0]
    assert "learning rate" in errors[0]
    assert not (workdir / "genotype.json").exists()
    assert not (workdir / "retrain.json").exists()
    rows = [
        json.loads(r) for r in (workdir / f"{stage}.jsonl").read_text().splitlines()
    ]
    assert all(isinstance(row["train_loss"], float) for row in rows)
