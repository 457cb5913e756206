"""The first command and the examples of README, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_run_of_a_config_that_comes_along(tmp_path, repo_root):
    finished = tmp_path / "run"
    result = nas_jax(repo_root, "run", SMOKE, f"--workdir={finished}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"report: {finished / 'report.html'}"
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
