"""docs/extending.md: its files, loaded as they stand, and its command, made small."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

FILES = re.compile(r"^`(own_\w+\.py)`:\n\n```python\n(.*?)^```$", re.M | re.S)
COMMANDS = re.compile(r"^nas-jax (?:\\\n|.)*$", re.M)


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "extending.md").read_text()


@pytest.fixture(scope="module")
def folder(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in FILES.findall(page):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def workdir(folder: Path, page: str, run: Any, tiny: list[str]) -> Path:
    """What the command with everything leaves."""
    (shown,) = (c for c in COMMANDS.findall(page) if c.count("--plugin") > 1)
    _, name, *flags = shlex.split(shown.replace("\\\n", ""))
    assert {f"--plugin={file.name}" for file in folder.iterdir()} < set(flags)
    own = [flag for flag in flags if not flag.startswith("--config=")]
    run(folder, [[name, *tiny, *own]])
    return folder / "runs" / "own"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_kind_has_a_file(folder: Path, page: str) -> None:
    registered = set(re.findall(r"nj\.(register_\w+)\(", page))
    assert registered == {
        f"register_{kind}"
        for kind in ("space", "op", "algorithm", "proxy", "strategy", "source", "stage")
    }
    assert page.count("```python") == len(list(folder.iterdir())) == 6


def test_the_page_shows_the_space_that_goes_through_all_commands(
    folder: Path,
) -> None:
    shown = (folder / "own_space.py").read_text()
    assert shown == Path(__file__).with_name("own_space.py").read_text()


def test_space_strategy_proxy_and_source_prune(workdir: Path) -> None:
    pruned = read(workdir / "prune.json")
    assert (pruned["space"], pruned["strategy"]) == ("attention", "ranks")
    assert pruned["proxies"] == ["mean_logit", "params"]
    assert "ranks of the relative losses" in pruned["meaning"]["meaning"]
    assert pruned["kept"] == 2 * 5 * 2
    page = (workdir / "report.html").read_text()
    assert "ranks of changes" in page and "mean_logit" in page
    assert read(workdir / "environment.json")["data"]["source"] == "stripes"


def test_the_algorithm_searches(workdir: Path) -> None:
    made_from = read(workdir / "genotype.json")["made_from"]["from"]
    assert made_from["config"]["search"]["algorithm"] == "sigmoid"
    rows = (workdir / "search.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["weight_learning_rate"] is None


def test_the_stage_counts(workdir: Path) -> None:
    counts = read(workdir / "counts.json")["operations"]
    text = read(workdir / "genotype.json")["text"]
    assert counts == {op: text.count(f"('{op}',") for op in counts}
    assert sum(counts.values()) == 8


def test_help_names_what_the_files_register(folder: Path, run: Any) -> None:
    plugins = [f"--plugin={file.name}" for file in sorted(folder.glob("own_*.py"))]
    text = " ".join(run(folder, [["run", *plugins, "--help"]]).split())
    for words in (
        "pools and channel attention",
        "gates that do not compete",
        "mean_logit",
        "ranks",
        "horizontal and vertical gratings",
    ):
        assert words in text
