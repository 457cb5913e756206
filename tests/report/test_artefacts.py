"""Reading artefacts: the errors point at the file and the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.artefacts import (
    ChosenCells,
    Memory,
    Pruning,
    Retraining,
    Summary,
    from_json,
    read,
    to_json,
)
from nas_jax.errors import WorkdirError
from nas_jax.jsonable import dumps
from nas_jax.report import summary_text, write_report
from nas_jax.report.artefacts import read_artefacts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="no working directory"):
        read_artefacts(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["search.jsonl", "retrain.jsonl"])
@pytest.mark.parametrize(
    "bad", [b'{"step": 3, ', b'{"step": "x"}', b"[1]", b'{"step": "\xff"}']
)
def test_damaged_row_is_left_out_and_told(workdir: Path, file: str, bad: bytes) -> None:
    path = workdir / file
    lines = path.read_bytes().splitlines()
    whole = read_artefacts(workdir)
    assert whole.notes == ()
    lines[6] = bad
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = read_artefacts(workdir)
    assert found.search and found.retrain and whole.search and whole.retrain
    lost = [len(whole.search.rows) - len(found.search.rows)]
    lost.append(len(whole.retrain) - len(found.retrain))
    assert lost == ([1, 0] if file == "search.jsonl" else [0, 1])
    note = f"1 damaged row of {file} left out"
    assert found.notes == (note,)
    assert note in write_report(workdir).read_text(encoding="utf-8")
    assert f"  note              {note}\n" in summary_text(workdir)
    lines[7] = bad
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert read_artefacts(workdir).notes == (f"2 damaged rows of {file} left out",)


def test_ragged_alphas_name_the_line(workdir: Path) -> None:
    path = workdir / "search.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[9])
    row["alphas"]["reduce"][3].pop()
    lines[9] = json.dumps(row)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(WorkdirError, match=r"search\.jsonl, line 10: alphas") as caught:
        read_artefacts(workdir)
    assert "remove" not in str(caught.value)


def test_a_log_of_damaged_rows_alone_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "search.jsonl").write_text("{\n[]\n", encoding="utf-8")
    artefacts = read_artefacts(tmp_path)
    assert artefacts.search is None
    assert artefacts.notes == ("2 damaged rows of search.jsonl left out",)


@pytest.mark.parametrize(
    "name", ["config", "environment", "prune", "genotype", "memory", "summary"]
)
def test_no_advice_removes_a_file(workdir: Path, name: str) -> None:
    path = workdir / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WorkdirError, match=rf"^{name}\.json, line \d+: ") as caught:
        read_artefacts(workdir)
    assert "remove" not in str(caught.value)
    assert "put back the file" in str(caught.value)


def row(**changed: Any) -> Any:
    """Changes an operation of prune.json."""
    return lambda value: value["operations"][1].update(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["rankers"].append(v["rankers"][0]), "rankers must be one for"),
        (row(round=0), r"operations\[1\]\.round must be 1 or more"),
        (row(round=2), r"operations\[1\]\.round must be at most 1"),
        (row(scores_std={"zen": 0.1}), r"operations\[1\]\.scores_std\.zen is of no"),
        (row(margin=-0.1), r"operations\[1\]\.margin must be a distance"),
        (row(kept="yes"), r"operations\[1\]\.kept must be true or false, got 'yes'"),
        (
            lambda v: v.update(budget={"allowed": 1, "target": "h"}),
            "budget.needed is mi",
        ),
        (lambda v: v.update(level=None), "level is null, and there is no keep"),
        (lambda v: v.pop("rounds"), "rounds is missing"),
        (lambda v: v.update(warnings=[1]), r"warnings\[0\] must be a string"),
        (lambda v: v.update(keep=-1), "keep must be a whole number"),
        (lambda v: v.update(kept=111), "kept must be the 112 operations"),
    ],
)
def test_prune_json_is_checked(workdir: Path, change: Any, message: str) -> None:
    edit(workdir / "prune.json", change)
    with pytest.raises(WorkdirError, match=rf"^prune\.json: {message}"):
        read_artefacts(workdir)


def test_not_utf8_names_the_line(workdir: Path) -> None:
    (workdir / "config.json").write_bytes(b'{\n"name": "\xff"}')
    with pytest.raises(WorkdirError, match=r"config\.json, line 2: not UTF-8"):
        read_artefacts(workdir)


def test_repeated_steps_are_merged_and_the_last_wins(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "epoch": 0.5, "train_loss": 3.0},
        {"step": 2, "epoch": 1.0, "train_loss": 2.0},
        {"step": 2, "epoch": 1.0, "test_accuracy": 0.5},
        {"step": 1, "epoch": 0.5, "train_loss": 2.5},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "retrain.jsonl").write_text(text, encoding="utf-8")
    first, second = read_artefacts(tmp_path).retrain or ()
    assert (first.step, first.values["train_loss"]) == (1, 2.5)
    assert second.values == {"epoch": 1.0, "train_loss": 2.0, "test_accuracy": 0.5}


@given(value=JSON, kind=st.sampled_from([int, float, str, bool, Pruning, Summary]))
def test_any_json_reads_or_raises_one_clear_error(value: Any, kind: Any) -> None:
    try:
        from_json(kind, value, "file.json")
    except WorkdirError as error:
        assert str(error).startswith("file.json: ") and "\n" not in str(error)


KINDS = [Pruning, ChosenCells, Memory, Retraining, Summary]
FILES = ["prune", "genotype", "memory", "retrain", "summary"]


@pytest.mark.parametrize(("kind", "name"), [*zip(KINDS, FILES, strict=True)])
def test_what_is_read_is_written_as_it_was(workdir: Path, kind: Any, name: str) -> None:
    artefact = read(workdir / f"{name}.json", kind)
    (workdir / "again.json").write_text(dumps(to_json(artefact)), encoding="utf-8")
    assert read(workdir / "again.json", kind) == artefact
