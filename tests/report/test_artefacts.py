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


def test_finished_directory_reads_whole(finished: Path) -> None:
    artefacts = read_artefacts(finished)
    assert None not in vars(artefacts).values()
    assert artefacts.pruning is not None and len(artefacts.pruning.operations) == 224
    assert artefacts.search is not None and len(artefacts.search.rows) == 24
    assert artefacts.genotype is not None
    assert artefacts.genotype.cells["reduce"].concat == (2, 3, 4, 5)


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="no working directory"):
        read_artefacts(tmp_path / "nowhere")


def test_empty_log_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "search.jsonl").write_text("\n", encoding="utf-8")
    assert read_artefacts(tmp_path).search is None


@pytest.mark.parametrize("file", ["search.jsonl", "retrain.jsonl"])
@pytest.mark.parametrize(
    "bad", [b'{"step": 3, ', b"not json", b'{"step": "x"}', b"[1]", b'{"step": "\xff"}']
)
def test_damaged_row_is_left_out_and_told(workdir: Path, file: str, bad: bytes) -> None:
    path = workdir / file
    lines = path.read_bytes().splitlines()
    whole = read_artefacts(workdir)
    assert whole.notes == ()
    lines[6] = bad
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = read_artefacts(workdir)
    for log, before in ((found.search, whole.search), (found.retrain, whole.retrain)):
        rows, all_rows = (getattr(one, "rows", one) for one in (log, before))
        damaged = log is (found.search if file == "search.jsonl" else found.retrain)
        kept = [row for i, row in enumerate(all_rows) if not (damaged and i == 6)]
        assert list(rows) == kept
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


def test_json_syntax_error_names_the_line(workdir: Path) -> None:
    (workdir / "memory.json").write_text('{\n"target": "cpu",\n}', encoding="utf-8")
    with pytest.raises(WorkdirError, match=r"memory\.json, line [23]: not valid JSON"):
        read_artefacts(workdir)


def test_wrong_type_names_file_field_and_value(workdir: Path) -> None:
    path = workdir / "prune.json"
    edit(path, lambda value: value["operations"][17].update(kept="yes"))
    message = r"prune\.json: operations\[17\]\.kept must be true or false, got 'yes'"
    with pytest.raises(WorkdirError, match=message):
        read_artefacts(workdir)


def test_missing_member_names_its_path(workdir: Path) -> None:
    edit(workdir / "memory.json", lambda value: value["pruned"].pop("peak_bytes"))
    with pytest.raises(WorkdirError, match=r"pruned\.peak_bytes is missing"):
        read_artefacts(workdir)


def test_counts_must_agree_with_the_rows(workdir: Path) -> None:
    edit(workdir / "prune.json", lambda value: value.update(kept=111))
    with pytest.raises(WorkdirError, match=r"kept must be the 112 operations"):
        read_artefacts(workdir)


def ranked_twice(value: Any) -> None:
    value["rankers"].append(value["rankers"][0])


def in_no_round(value: Any) -> None:
    value["operations"][1]["round"] = 0


def in_a_later_round(value: Any) -> None:
    value["operations"][1]["round"] = 2


def of_no_proxy(value: Any) -> None:
    value["operations"][1]["scores_std"]["zen"] = 0.1


def negative_margin(value: Any) -> None:
    value["operations"][1]["margin"] = -0.1


def budget_without_a_step(value: Any) -> None:
    value.update(budget={"allowed": 2**30, "target": "h100"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (ranked_twice, r"rankers must be one for each of the proxies"),
        (in_no_round, r"operations\[1\]\.round must be 1 or more"),
        (in_a_later_round, r"operations\[1\]\.round must be at most 1"),
        (of_no_proxy, r"operations\[1\]\.scores_std\.zen is of no proxy"),
        (negative_margin, r"operations\[1\]\.margin must be a distance"),
        (budget_without_a_step, r"budget\.needed is missing"),
        (lambda value: value.pop("rounds"), r"rounds is missing"),
        (lambda value: value.update(warnings=[1]), r"warnings\[0\] must be a string"),
        (lambda value: value.update(keep=-1), r"keep must be a whole number"),
    ],
)
def test_prune_json_is_checked(workdir: Path, change: Any, message: str) -> None:
    edit(workdir / "prune.json", change)
    with pytest.raises(WorkdirError, match=rf"^prune\.json: {message}"):
        read_artefacts(workdir)


def test_prune_json_without_a_target_is_an_error(fake: Any, tmp_path: Path) -> None:
    fake.fill(tmp_path, steps=2, epochs=1)
    path = tmp_path / "prune.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(written | {"level": None}), encoding="utf-8")
    with pytest.raises(WorkdirError, match="level is null"):
        read_artefacts(tmp_path)


def test_prune_json_reads_what_was_written(fake: Any, tmp_path: Path) -> None:
    budget = {"budget_bytes": 100, "budget_target": "h100", "step_bytes": 99}
    fake.fill(tmp_path, steps=2, epochs=1, strategy="te_nas", rounds=2, budget=budget)
    written = json.loads((tmp_path / "prune.json").read_text(encoding="utf-8"))
    pruning = read_artefacts(tmp_path).pruning
    assert pruning is not None and pruning.budget is not None
    assert vars(pruning.budget) == {"allowed": 100, "target": "h100", "needed": 99}
    for name in ("keep", "min_parametric", "rounds", "candidates", "level"):
        assert getattr(pruning, name) == written[name]
    for ranker, row in zip(pruning.rankers, written["rankers"], strict=True):
        assert vars(ranker) == {**row, "norm": row["norm"] or ""}
    same = ("score", "score_std", "scores", "scores_std", "round", "margin", "kept")
    for operation, row in zip(pruning.operations, written["operations"], strict=True):
        assert {name: getattr(operation, name) for name in same} == {
            name: row[name] for name in same
        }


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
