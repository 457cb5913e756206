"""The stages as commands of their own, pruning switched off, and divergence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOREIGN = (
    "Genotype(normal=[('skip_connect', 0), ('max_pool_3x3', 1)], "
    "normal_concat=range(2, 3), reduce=[('avg_pool_3x3', 0), ('skip_connect', 1)], "
    "reduce_concat=range(2, 3))"
)


def read(workdir: Path, name: str) -> Any:
    return json.loads((workdir / name).read_text())


def test_separate_commands_give_the_results_of_run(
    cli, tiny, reference, results, tmp_path, capfd
) -> None:
    flags = (tiny, f"--workdir={tmp_path / 'run'}")
    printed = []
    for command in ("prune", "search", "retrain"):
        assert cli.main(command, *flags) == 0
        printed.append(capfd.readouterr().out)
    assert cli.main("report", f"--workdir={tmp_path / 'run'}") == 0
    expected = results.all(reference)
    assert results.search(tmp_path / "run") == results.search(reference)
    assert results.rows(tmp_path / "run", "retrain.jsonl") == expected["retrain"]
    retrained = read(tmp_path / "run", "retrain.json")
    assert retrained["test_accuracy"] == expected["test_accuracy"]
    assert retrained["parameters"] == expected["parameters"]
    assert retrained["genotype"] == expected["genotype"]
    assert "kept 8 of 32 operations" in printed[0]
    assert printed[1].splitlines()[0] == expected["genotype"]
    assert f"test accuracy {expected['test_accuracy']:.4f}" in printed[2]
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("as_file", [False, True])
def test_retrain_a_genotype_from_elsewhere(cli, tiny, tmp_path, as_file) -> None:
    genotype = FOREIGN
    if as_file:
        (tmp_path / "genotype.txt").write_text(FOREIGN + "\n")
        genotype = str(tmp_path / "genotype.txt")
    flags = (tiny, f"--workdir={tmp_path / 'run'}", "--config.retrain.epochs=1")
    assert cli.main("retrain", *flags, f"--genotype={genotype}") == 0
    result = read(tmp_path / "run", "retrain.json")
    assert result["genotype"] == FOREIGN
    assert 0 <= result["test_accuracy"] <= 1


def test_checkpoints_of_another_genotype_are_not_taken(
    cli, tiny, tmp_path, capfd
) -> None:
    # Both have parameters of equal shapes: only the stored genotype tells them apart.
    other = FOREIGN.replace("('max_pool_3x3', 1)", "('avg_pool_3x3', 1)")
    flags = (tiny, f"--workdir={tmp_path / 'run'}", "--config.retrain.epochs=1")
    assert cli.main("retrain", *flags, f"--genotype={FOREIGN}") == 0
    before = read(tmp_path / "run", "retrain.json")
    capfd.readouterr()
    assert cli.main("retrain", *flags, f"--genotype={other}") == 2
    error = capfd.readouterr().err
    assert "another making: genotype" in error and "--workdir" in error
    assert read(tmp_path / "run", "retrain.json") == before


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
