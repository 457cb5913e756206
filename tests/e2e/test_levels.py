"""Pruning parts of a space: levels and figures are of what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest


def prune(cli: Any, tiny: str, workdir: Path, *flags: str) -> int:
    """`nas-jax prune` at random, which compiles nothing, on four nodes a cell."""
    random = ("--config.prune.strategy=random", "--config.prune.proxies=()")
    nodes = "--config.space.num_nodes=4"
    code: int = cli.main("prune", tiny, nodes, *random, *flags, f"--workdir={workdir}")
    return code


def read(workdir: Path) -> Any:
    return json.loads((workdir / "prune.json").read_text())


@pytest.mark.parametrize(
    ("space", "level", "kept", "there"),
    [
        ("s1", 0.5, 28, 56),
        ("s2", 0.5, 28, 56),
        ("s2", 0.25, 28, 56),
        ("s3", 0.25, 56, 84),
        ("s3", 0.5, 28, 84),
        ("darts", 0.25, 168, 224),
        ("darts", 0.5, 112, 224),
        ("nasbench201", 0.5, 12, 30),
    ],
)
def test_a_level_is_a_share_of_what_edges_have(
    cli, tiny, tmp_path, capfd, space, level, kept, there
) -> None:
    flags = (f"--config.space.name={space}", f"--config.prune.level={level}")
    assert prune(cli, tiny, tmp_path, *flags) == 0
    assert f"kept {kept} of {there} operations" in capfd.readouterr().out
    artefact = read(tmp_path)
    assert (artefact["kept"], artefact["total"]) == (kept, there)
    assert artefact["kept_fraction"] == kept / there
    assert artefact["warnings"] == []
    assert cli.main("report", f"--workdir={tmp_path}") == 0
    page = (tmp_path / "report.html").read_text()
    assert re.search(rf"kept {kept} of (the )?{there} operations", page)


def test_architectures_are_counted_of_what_there_was(
    cli, tiny, tmp_path, capfd
) -> None:
    assert prune(cli, tiny, tmp_path, "--config.space.name=s2") == 0
    # 46,080 of each of two cells (Zela et al. 2020); then 180, which edges to take.
    printed = capfd.readouterr().out
    assert f"architectures: {46080**2} before, {180**2} after" in printed


def test_a_mask_is_pruned_further(cli, tiny, tmp_path, capfd) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert prune(cli, tiny, first, "--config.prune.level=0.5") == 0
    mask = f"--config.space.mask={first / 'prune.json'}"
    assert prune(cli, tiny, second, mask, "--config.prune.level=0.5") == 0
    assert "kept 56 of 112 operations" in capfd.readouterr().out
    assert read(second)["kept_fraction"] == 0.5


@pytest.mark.parametrize("space", ["s1", "s2"])
def test_pruning_that_removes_nothing_says_so(
    cli, tiny, tmp_path, capfd, space
) -> None:
    flags = (f"--config.space.name={space}", "--config.prune.keep=4")
    said = (
        "nothing was pruned, all 56 operations stay: 28 of 28 edges lost nothing, with "
        "2 operations or fewer each"
    )
    # Also where it was done before.
    for _ in range(2):
        assert prune(cli, tiny, tmp_path, *flags) == 0
        printed = capfd.readouterr().out
        assert "kept 56 of 56 operations" in printed
        assert f"warning: {said}" in printed
    assert read(tmp_path)["warnings"] == [said]
    assert cli.main("report", f"--workdir={tmp_path}") == 0
    page = (tmp_path / "report.html").read_text()
    assert f"<li>{said}</li>" in page and "nothing was pruned; 100% kept" in page
