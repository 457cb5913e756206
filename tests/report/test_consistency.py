"""Artefacts that do not belong together are refused; what is not known is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas_jax.errors import WorkdirError
from nas_jax.report import summary_text, write_report
from nas_jax.report.artefacts import read_artefacts

Change = Callable[[Any], None]


def edit(path: Path, change: Change) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_rows(path: Path, change: Change, first: int = 0) -> None:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows[first:]:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def refused(workdir: Path) -> str:
    """The one line that page and terminal refuse a folder with; nothing is written."""
    with pytest.raises(WorkdirError) as caught:
        write_report(workdir)
    with pytest.raises(WorkdirError) as again:
        summary_text(workdir)
    assert not (workdir / "report.html").exists()
    text = str(caught.value)
    assert text == str(again.value)
    assert "\n" not in text and "new --workdir" in text and "remove" not in text
    return text


def set_input(name: str, value: Any) -> Change:
    return lambda artefact: artefact["made_from"]["from"].update({name: value})


def test_a_whole_run_belongs_together(workdir: Path) -> None:
    assert read_artefacts(workdir).notes == ()


STAGES = ["prune.json", "genotype.json", "memory.json", "retrain.json", "summary.json"]


@pytest.mark.parametrize("file", STAGES[:-1])
def test_stages_of_other_images(workdir: Path, file: str) -> None:
    for name in LOGS + ["summary.json"]:
        (workdir / name).unlink()
    edit(workdir / file, set_input("data", "0" * 64))
    text = refused(workdir)
    assert file in text and "do not belong together: their images differ" in text


LOGS = ["search.jsonl", "retrain.jsonl"]


def test_images_of_the_environment_are_those_of_the_stages(workdir: Path) -> None:
    change: Change = lambda value: value["data"].update(sha256="0" * 64)  # noqa: E731
    edit(workdir / "environment.json", change)
    assert "prune.json and environment.json" in refused(workdir)


@pytest.mark.parametrize("file", ["genotype.json", "memory.json"])
def test_a_search_of_another_mask_than_pruning_left(workdir: Path, file: str) -> None:
    for name in LOGS + ["summary.json"]:
        (workdir / name).unlink()
    edit(workdir / file, set_input("mask", "0" * 64))
    text = refused(workdir)
    assert f"prune.json and {file}" in text or "genotype.json and memory.json" in text
    assert "their masks differ" in text


def test_without_pruning_there_is_no_mask_to_compare(workdir: Path) -> None:
    for name in LOGS + ["summary.json", "prune.json"]:
        (workdir / name).unlink()
    for file in ("genotype.json", "memory.json"):
        edit(workdir / file, set_input("mask", "0" * 64))
    assert read_artefacts(workdir).notes == ()


def test_memory_of_another_start(workdir: Path) -> None:
    (workdir / "summary.json").unlink()
    edit(workdir / "memory.json", set_input("start", "0" * 64))
    assert "their masks to start from differ" in refused(workdir)


RESULTS = [("search.jsonl", "genotype.json"), ("retrain.jsonl", "retrain.json")]


@pytest.mark.parametrize(("log", "result"), RESULTS)
def test_rows_of_another_making_than_the_result(
    workdir: Path, log: str, result: str
) -> None:
    edit_rows(workdir / log, lambda row: row.update(made_from="0" * 64))
    assert f"{log} and {result} do not belong together" in refused(workdir)


@pytest.mark.parametrize(("log", "result"), RESULTS)
def test_rows_of_two_makings(workdir: Path, log: str, result: str) -> None:
    # The result may not be there yet.
    (workdir / result).unlink()
    edit_rows(workdir / log, lambda row: row.update(made_from="0" * 64), first=5)
    assert f"{log} has rows of 2 makings" in refused(workdir)


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("prune", "prune.json"),
        ("search", "genotype.json"),
        ("memory", "memory.json"),
        ("retrain", "retrain.json"),
    ],
)
def test_summary_of_another_stage(workdir: Path, stage: str, file: str) -> None:
    edit(workdir / "summary.json", set_input(stage, "0"))
    assert f"{file} and summary.json" in refused(workdir)


def test_folder_of_a_version_that_recorded_nothing(workdir: Path) -> None:
    for file in STAGES:
        edit(workdir / file, lambda value: value.pop("made_from"))
    for log in LOGS:
        edit_rows(workdir / log, lambda row: row.pop("made_from"))
    (note,) = read_artefacts(workdir).notes
    assert note == (
        "this folder does not record what its artefacts were made from (prune.json, "
        "genotype.json, memory.json, retrain.json, summary.json, search.jsonl, "
        "retrain.jsonl), so whether they belong together is not known"
    )
    assert note in write_report(workdir).read_text(encoding="utf-8")
    assert "does not record what" in summary_text(workdir)


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, {"digest": 1, "from": []}])
def test_any_record_reads(workdir: Path, value: Any) -> None:
    for file in STAGES:
        edit(workdir / file, lambda artefact: artefact.update(made_from=value))
    edit(workdir / "config.json", lambda artefact: artefact.update(space=value))
    (note,) = read_artefacts(workdir).notes
    assert "prune.json, genotype.json, memory.json, retrain.json, summary" in note


def given_genotype(workdir: Path, change: Callable[[str], str]) -> None:
    """Leaves what `nas-jax retrain --genotype=...` leaves beside a search."""
    (workdir / "summary.json").unlink()

    def trained(value: Any) -> None:
        value["genotype"] = change(value["genotype"])

    edit(workdir / "retrain.json", trained)


def test_retraining_of_another_genotype_than_the_one_found(workdir: Path) -> None:
    given_genotype(workdir, lambda text: text.replace("sep_conv_3x3", "skip_connect"))
    (note,) = read_artefacts(workdir).notes
    assert note == "the network that was retrained is another than genotype.json has"


def test_another_listing_is_no_other_genotype(workdir: Path) -> None:
    def swapped(text: str) -> str:
        first, second, rest = text.removeprefix("Genotype(normal=[").split("), ", 2)
        return f"Genotype(normal=[{second}), {first}), {rest}"

    given_genotype(workdir, swapped)
    assert read_artefacts(workdir).notes == ()
