"""RobustDARTS' S4, whose noise draws anew in each call, through every command."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from typing import Any

import pytest

from nas_jax.spaces import Genotype, SpaceMask, get_space

SPACE = get_space("s4")
NOISE, CONV = SPACE.cells[0].ops
FLAGS = [
    "--config.space.name=s4",
    "--config.space.num_nodes=4",
    "--config.prune.keep=1",
    "--config.search.epochs=1",
    "--config.retrain.epochs=1",
]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def workdir(cli: Any, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five commands. To compile fast, a mask leaves convolutions to four edges."""
    folder = tmp_path_factory.mktemp("s4")
    few = [o for o in SPACE.operations() if o[2] == CONV and o[1] not in (0, 3)]
    (folder / "mask.json").write_text(SpaceMask.full(SPACE).drop(few).to_json())
    flags = [tiny, *FLAGS, f"--config.space.mask={folder / 'mask.json'}"]
    workdir = folder / "run"
    for command in ("prune", "search", "retrain"):
        assert cli.main(command, *flags, f"--workdir={workdir}") == 0
    assert cli.main("report", f"--workdir={workdir}") == 0
    small = ["--channels=2", "--cells=2", "--batch_size=8", "--num=3", "--chunk=1"]
    scored = [*small, "--proxies=flops,nwot", f"--json={folder / 'scores.json'}"]
    assert cli.main("score", "--space=s4", tiny, *scored) == 0
    return workdir


def test_noise_is_scored_pruned_and_searched(workdir: Path) -> None:
    pruned = read(workdir / "prune.json")
    offered = [row for row in pruned["operations"] if row.get("offered", True)]
    on_edges_of_two = [row for row in offered if row["edge"] in (0, 3)]
    assert {row["operation"] for row in on_edges_of_two} == {NOISE, CONV}
    assert all(math.isfinite(row["score"]) for row in on_edges_of_two)
    assert (pruned["total"], pruned["kept"]) == (32, 28)
    found = Genotype.parse(SPACE, read(workdir / "genotype.json")["text"])
    mask = SpaceMask.load(SPACE, workdir / "prune.json")
    for spec, cell in zip(SPACE.cells, found.cells, strict=True):
        for (op, source), node in zip(cell.genes, spec.gene_nodes, strict=True):
            edge = spec.edges.index((source, node))
            assert op in mask.edge(cell.name, edge)
    assert NOISE in {op for cell in found.cells for op, _ in cell.genes}


def test_what_was_found_is_trained_and_shown(workdir: Path) -> None:
    text = read(workdir / "genotype.json")["text"]
    result = read(workdir / "retrain.json")
    assert result["genotype"] == text and 0 <= result["test_accuracy"] <= 1
    page = html.unescape((workdir / "report.html").read_text())
    assert text in page and 'class="missing"' not in page.split("<section")[1]


def test_its_architectures_are_scored(workdir: Path) -> None:
    rows = read(workdir.parent / "scores.json")["rows"]
    assert len(rows) == 3
    assert any(NOISE in row["architecture"] for row in rows)
