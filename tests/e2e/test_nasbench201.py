"""Prune, search, retrain and report on NAS-Bench-201, as a user calls them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nas_jax.spaces import Genotype, SpaceMask, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of, official_order, reachable

SPACE = nasbench201_space()
FLAGS = [
    "--config.space.name=nasbench201",
    "--config.space.num_nodes=4",
    *(f"--config.{stage}.layers=1" for stage in ("prune", "search", "retrain")),
    "--config.prune.proxies=('params',)",
    "--config.prune.level=0.5",
    "--config.search.epochs=1",
    "--config.search.remat=none",
    "--config.retrain.epochs=1",
]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def finished(cli: Any, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    # Without 3x3 convolutions it compiles in half of the time.
    wide = [o for o in SPACE.operations() if o[2] == "nor_conv_3x3"]
    (folder / "mask.json").write_text(SpaceMask.full(SPACE).drop(wide).to_json())
    flags = [*FLAGS, f"--config.space.mask={folder / 'mask.json'}"]
    assert cli.main("run", tiny, *flags, f"--workdir={folder / 'run'}") == 0
    return folder / "run"


def test_every_artefact_is_of_the_space(finished: Path) -> None:
    prune = read(finished / "prune.json")
    mask = SpaceMask.load(SPACE, finished / "prune.json")
    # Of the 30 operations, those that its mask leaves to prune.
    assert (prune["space"], prune["total"]) == ("nasbench201", 24)
    assert sum("offered" not in row for row in prune["operations"]) == 24
    assert len(prune["operations"]) == 30
    assert mask.num_kept == prune["kept"] == 6 * 2
    found = read(finished / "genotype.json")
    genotype = Genotype.parse(SPACE, found["text"])
    assert genotype.mask() <= mask
    assert (
        genotype_of(official_order()[int(found["facts"]["nasbench201_index"])])
        == genotype
    )
    shares = found["probabilities"]["cell"]
    for edge, ops in enumerate(mask.cell("cell")):
        live = {op for op, p in zip(SPACE.cells[0].ops, shares[edge], strict=True) if p}
        assert live == set(ops)
        strongest = SPACE.cells[0].ops[shares[edge].index(max(shares[edge]))]
        assert genotype.cells[0].genes[edge][0] == strongest
    summary = read(finished / "summary.json")
    assert summary["genotype"] == found["text"]
    memory = read(finished / "memory.json")
    assert 0 < memory["pruned"]["peak_bytes"] < memory["unpruned"]["peak_bytes"]


def test_the_report_draws_its_cell(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    text = read(finished / "genotype.json")["text"]
    genes = Genotype.parse(SPACE, text).cells[0].genes
    assert text in page
    edges = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    for (source, target), (op, _) in zip(edges, genes, strict=True):
        assert f"<title>{source} → {target}: {op}</title>" in page
    assert re.search(r"the input c<sub>k−1</sub> is the output", page)


def test_a_disconnected_architecture_is_refused_before_anything_is_written(
    cli: Any, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = ("nor_conv_3x3", "none", "none", "none", "none", "nor_conv_3x3")
    assert not reachable(operations).any()
    workdir, text = tmp_path / "run", str(genotype_of(operations))
    flags = [tiny, *FLAGS, f"--workdir={workdir}", f"--genotype={text}"]
    assert cli.main("retrain", *flags) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert len(lines) == 1 and text in lines[0] and "no path" in lines[0]
    assert not workdir.exists()
