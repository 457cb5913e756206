"""A user's own space, one file outside of the package, through all commands."""

from __future__ import annotations

import ast
import hashlib
import html
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OWN = Path(__file__).with_name("own_space.py")
NAME, OPERATION = "attention", "channel_attention"


@pytest.fixture(scope="module")
def said(
    run: Any, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder that all commands wrote to, and what they printed."""
    folder = tmp_path_factory.mktemp("own")
    own, config = [f"--plugin={OWN}"], [*tiny, f"--config.space.name={NAME}"]
    small = ["--channels=2", "--cells=2", "--batch_size=8", "--num=4", "--chunk=1"]
    return folder, run(
        folder,
        [
            *(
                [command, *own, *config, "--workdir=stages"]
                for command in ("prune", "search", "retrain")
            ),
            ["report", *own, "--workdir=stages"],
            ["run", *own, *config, "--workdir=run"],
            ["memory", *own, *config, "--trace_only", "--json=memory.json"],
            [
                *("score", *own, f"--space={NAME}", tiny[0], *small),
                *("--proxies=params,flops,nwot", "--json=scores.json"),
            ],
        ],
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_it_needs_nothing_but_the_public_face() -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(OWN.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
        )
    }
    assert imported == {"jax", "jax.numpy", "nas_jax"}


def test_single_commands_and_run_leave_the_same(said: tuple[Path, str]) -> None:
    folder, printed = said
    pruned = read(folder / "stages" / "prune.json")
    rows = [row for row in pruned["operations"] if row["operation"] == OPERATION]
    assert len(rows) == 2 * 5
    assert all(isinstance(row["score"], float) for row in rows)
    found = read(folder / "stages" / "genotype.json")
    assert found["text"] in printed
    assert found["text"] in html.unescape(
        (folder / "stages" / "report.html").read_text()
    )
    for name, fields in (
        ("prune.json", ("mask", "operations")),
        ("genotype.json", ("text", "probabilities")),
        ("memory.json", ("pruned", "unpruned")),
        ("retrain.json", ("genotype", "test_accuracy", "parameters")),
    ):
        stages, run = (read(folder / w / name) for w in ("stages", "run"))
        for field in fields:
            assert stages[field] == run[field], (name, field)


def test_a_plugin_that_changed_is_another_making(
    tiny: list[str],
    said: tuple[Path, str],
    tmp_path: Path,
) -> None:
    """The operation has the same name, and may compute something else."""
    folder, _ = said
    made = read(folder / "run" / "genotype.json")["made_from"]["from"]
    digest = hashlib.sha256(OWN.read_bytes()).hexdigest()
    assert made["plugins"] == [digest]
    again = tmp_path / OWN.name
    again.write_text(OWN.read_text() + "# Another version.\n")
    before = {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*")}
    command = [sys.executable, "-m", "nas_jax.cli.main", "retrain"]
    workdir = f"--workdir={folder / 'run'}"
    result = subprocess.run(
        [*command, f"--plugin={again}", *tiny, f"--config.space.name={NAME}", workdir],
        cwd=OWN.parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and "plugins" in result.stderr
    assert {p: p.stat().st_mtime_ns for p in (folder / "run").rglob("*")} == before


def test_memory_and_score_know_it(said: tuple[Path, str]) -> None:
    folder, _ = said
    whole, pruned = read(folder / "memory.json")["rows"]
    assert 0 < pruned["residual_bytes"] < whole["residual_bytes"]
    texts = [row["architecture"] for row in read(folder / "scores.json")["rows"]]
    assert len(texts) == 4 and any(OPERATION in text for text in texts)
