"""The commands as a user calls them: artefacts, restarts and mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas_jax.cli import main as command_line
from nas_jax.spaces import Genotype, darts_space

SMOKE = "--config=configs/digits.py:smoke"


def nas_jax(repo_root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nas_jax.cli.main", *arguments],
        cwd=repo_root,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, repo_root) -> Path:
    workdir = tmp_path_factory.mktemp("smoke") / "run"
    result = nas_jax(repo_root, "run", SMOKE, f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    assert str(workdir / "report.html") in result.stdout
    return workdir


def test_run_writes_every_artefact(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert 0 <= summary["test_accuracy"] <= 1
    assert summary["num_test"] == 360
    assert summary["kept_fraction"] <= 0.5
    assert {"prune", "search", "retrain", "total"} <= set(summary["seconds"])
    memory = summary["peak_memory_bytes"]
    assert 0 < memory["pruned"] < memory["unpruned"]
    Genotype.parse(darts_space(num_nodes=1), summary["genotype"])
    prune = json.loads((finished / "prune.json").read_text())
    assert len(prune["operations"]) == prune["total"] == 2 * 2 * 8
    for log in ("search.jsonl", "retrain.jsonl"):
        rows = [json.loads(line) for line in (finished / log).read_text().splitlines()]
        assert rows and all(row["train_loss"] > 0 for row in rows)
    page = (finished / "report.html").read_text()
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?https?:", page)


def test_a_finished_run_is_not_run_again(finished, repo_root):
    names = ("prune.json", "search.jsonl", "genotype.json", "summary.json")
    before = {name: (finished / name).stat().st_mtime_ns for name in names}
    (finished / "report.html").unlink()
    result = nas_jax(repo_root, "run", SMOKE, f"--workdir={finished}")
    assert result.returncode == 0, result.stderr
    assert before == {name: (finished / name).stat().st_mtime_ns for name in names}
    assert (finished / "report.html").exists()


@pytest.mark.parametrize(
    ("example", "printed"), [(0, "0.5 Genotype(normal=["), (1, "params 408.0\n")]
)
def test_readme_examples_run(repo_root, example, printed):
    text = (repo_root / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 2
    code = examples[example]
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repo_root,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(printed)


def mistake(capsys, monkeypatch, repo_root, *arguments: str) -> str:
    """The one line that a wrong call prints."""
    monkeypatch.chdir(repo_root)
    assert command_line.main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    errors = [line for line in lines if line.startswith("nas-jax: error: ")]
    assert len(errors) == 1, lines
    assert not any("Traceback" in line for line in lines)
    return errors[0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.search.epoch=3"], ["epoch", "did you mean", "search.epochs"]),
        (["--config.search.epochs=many"], ["epochs", "many"]),
        (
            ["--config.prune.proxies=('magic',)"],
            ["magic", "must be different names", "synflow"],
        ),
        (["--config.prune.level=1.5"], ["prune.level", "1.5"]),
        (["--config.data.source=npz"], ["data.path"]),
    ],
)
def test_mistakes_in_flags(capsys, monkeypatch, repo_root, tmp_path, flags, words):
    workdir = tmp_path / "run"
    line = mistake(
        capsys, monkeypatch, repo_root, "run", SMOKE, f"--workdir={workdir}", *flags
    )
    assert all(word in line for word in words), line
    assert not workdir.exists()


def test_mistakes_in_files(capsys, monkeypatch, repo_root, tmp_path):
    workdir = tmp_path / "run"

    def refused(*flags: str) -> str:
        line = mistake(
            capsys, monkeypatch, repo_root, "run", SMOKE, f"--workdir={workdir}", *flags
        )
        assert not workdir.exists()
        return line

    mask = tmp_path / "mask.json"
    space = darts_space(num_nodes=1)
    cells = {
        "normal": [["skip_connect"]] * 2,
        "reduce": [["skip_connect"], ["conv_9x9"]],
    }
    mask.write_text(json.dumps({"space": space.name, "cells": cells}))
    assert "conv_9x9" in refused(f"--config.space.mask={mask}")
    cells["reduce"] = [["skip_connect"], []]
    mask.write_text(json.dumps({"space": space.name, "cells": cells}))
    assert "cuts" in refused(f"--config.space.mask={mask}")

    folder = tmp_path / "images"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(3):
            (folder / name / f"{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    flags = ["--config.data.source=folder", f"--config.data.path={folder}"]
    assert ".png" in refused(*flags)

    images = np.resize(np.arange(20, dtype=np.uint8), (10, 10, 1, 20)).T.reshape(
        20, 10, 10, 1
    )
    labels = np.arange(20) % 2
    file = tmp_path / "images.npz"
    flags = ["--config.data.source=npz", f"--config.data.path={file}"]
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert "10x10" in refused(*flags)
    np.savez(file, x_train=images, y_train=labels - 1, x_test=images, y_test=labels)
    assert "-1" in refused(*flags)


def test_a_workdir_that_cannot_be_used(
    capsys, monkeypatch, repo_root, tmp_path, finished
):
    file = tmp_path / "file"
    file.write_text("")
    flags = ["run", SMOKE, f"--workdir={file}/below"]
    assert "workdir" in mistake(capsys, monkeypatch, repo_root, *flags)
    flags = ["run", SMOKE, f"--workdir={finished}", "--config.search.epochs=7"]
    line = mistake(capsys, monkeypatch, repo_root, *flags)
    assert "another making" in line and "search.epochs" in line


def test_code_in_a_genotype_is_not_run(
    capsys, monkeypatch, repo_root, tmp_path, finished
):
    marker = tmp_path / "marker"
    attack = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    for text in (attack, f"Genotype(normal={attack}, reduce=[])"):
        flags = [SMOKE, f"--workdir={tmp_path / 'run'}", f"--genotype={text}"]
        assert "genotype" in mistake(capsys, monkeypatch, repo_root, "retrain", *flags)
    assert not marker.exists()
