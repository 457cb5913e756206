"""The working directory: one experiment, whole files, nothing written if refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.artefacts import Pruning, Retraining
from nas_jax.errors import WorkdirError
from nas_jax.identity import MadeFrom
from nas_jax.jsonable import differences, dumps, to_jsonable
from nas_jax.workdir import Workdir, describe_environment, git_commit, write_atomically

RESULT = Retraining("Genotype()", 0.5, 10, 1.5)
CONFIG = '{"name": "a", "search": {"epochs": 3}}'


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(path: Path, config: str, environment: dict[str, Any]) -> Workdir:
    workdir = Workdir(path)
    with workdir.hold():
        workdir.begin(config, environment)
    return workdir


def test_hold_creates_the_folder_and_begin_fills_it(tmp_path: Path) -> None:
    root = tmp_path / "new" / "run"
    workdir = opened(root, CONFIG, {"jax": "1"})
    assert names(root) == ["config.json", "environment.json"]
    assert workdir.read_json("config.json") == json.loads(CONFIG)
    assert workdir.read_json("environment.json") == {"jax": "1", "earlier": []}


def test_begin_again_remembers_earlier_starts(tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        workdir = opened(tmp_path, CONFIG, {"jax": version})
    assert workdir.read_json("environment.json") == {
        "jax": "3",
        "earlier": [{"jax": "1"}, {"jax": "2"}],
    }


def test_another_config_is_told(tmp_path: Path, caplog: Any) -> None:
    opened(tmp_path, CONFIG, {})
    with caplog.at_level("INFO", logger="absl"):
        opened(tmp_path, CONFIG.replace("3", "4"), {})
    assert "search.epochs: 3, now 4" in caplog.text
    assert Workdir(tmp_path).read_json("config.json")["search"]["epochs"] == 4


def test_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(WorkdirError, match="is a file; give a folder as --workdir"):
        opened(path, CONFIG, {})
    assert path.read_text() == "mine"


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorkdirError, match="cannot write to workdir .*file/run: Not a"):
        opened(tmp_path / "file" / "run", CONFIG, {})
    assert names(tmp_path) == ["file"]


def test_read_only_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write to a read-only folder, so the operating system's answer is faked.
    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("nas_jax.lock.os.open", refuse)
    with pytest.raises(WorkdirError, match=r"cannot write to .*: Permission denied; g"):
        opened(tmp_path, CONFIG, {})
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("text", ['{"name": ', "[1]"])
def test_damaged_record_of_before_is_put_aside(
    tmp_path: Path, name: str, text: str, caplog: Any
) -> None:
    opened(tmp_path, CONFIG, {"jax": "1"})
    (tmp_path / name).write_text(text)
    opened(tmp_path, CONFIG, {"jax": "2"})
    assert name in caplog.text and f"{name}.damaged" in caplog.text
    assert (tmp_path / f"{name}.damaged").read_text() == text
    assert Workdir(tmp_path).read_json("config.json") == json.loads(CONFIG)
    assert Workdir(tmp_path).read_json("environment.json")["jax"] == "2"


def test_artefact_of_the_same_making_is_read(tmp_path: Path) -> None:
    workdir, made = Workdir(tmp_path), MadeFrom({"seed": 1, "data": "a" * 64})
    assert workdir.read_artefact("retrain.json", Retraining, made) is None
    written = workdir.write_artefact("retrain.json", RESULT, made)
    assert written.made_from == made
    assert workdir.read_artefact("retrain.json", Retraining, made) == written


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"seed": 2, "data": "a" * 64}, "seed: 1, now 2"),
        ({"seed": 1, "data": "b" * 64}, "the content of data has changed"),
        ({"seed": 1, "data": "a" * 64, "x": 0}, "x: absent, now 0"),
    ],
)
def test_artefact_of_another_making_is_refused(
    tmp_path: Path, inputs: dict[str, Any], said: str
) -> None:
    workdir = Workdir(tmp_path)
    made = MadeFrom({"seed": 1, "data": "a" * 64})
    workdir.write_artefact("retrain.json", RESULT, made)
    before = (tmp_path / "retrain.json").read_bytes()
    with pytest.raises(WorkdirError) as caught:
        workdir.read_artefact("retrain.json", Retraining, MadeFrom(inputs))
    message = str(caught.value)
    assert said in message and "retrain.json" in message and "--workdir" in message
    assert "\n" not in message
    assert (tmp_path / "retrain.json").read_bytes() == before


@pytest.mark.parametrize("text", ['{"kept": 3}', "[]", '{"made_from": "x"}'])
def test_artefact_that_does_not_say_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "prune.json").write_text(text)
    with pytest.raises(WorkdirError, match="does not record what it was made from"):
        Workdir(tmp_path).read_artefact("prune.json", Pruning, MadeFrom({}))


@pytest.mark.parametrize("noted", [True, False])
def test_rows_of_another_making_are_refused(tmp_path: Path, noted: bool) -> None:
    workdir, made = Workdir(tmp_path), MadeFrom({"seed": 1})
    workdir.refuse_other_rows("a.jsonl", made)
    rows = f'{{"step": 1, "made_from": "{made.digest}"}}\nbroken\n'
    (tmp_path / "a.jsonl").write_text(rows)
    if noted:
        workdir.note(made)
    workdir.refuse_other_rows("a.jsonl", made)
    with pytest.raises(WorkdirError) as caught:
        workdir.refuse_other_rows("a.jsonl", MadeFrom({"seed": 2}))
    message = str(caught.value)
    assert "a.jsonl, line 1 is of another making" in message
    assert ("seed: 1, now 2" if noted else "does not record") in message
    assert (tmp_path / "a.jsonl").read_text() == rows


def test_a_check_moves_no_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "made_from.json").write_text("{")
    (tmp_path / "a.jsonl").write_text('{"step": 1, "made_from": "x"}\n')
    with pytest.raises(WorkdirError, match="does not record"):
        Workdir(tmp_path).refuse_other_rows("a.jsonl", MadeFrom({"seed": 2}))
    assert names(tmp_path) == ["a.jsonl", "made_from.json"]


def test_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert MadeFrom({"a": 1, "b": 2}).digest == MadeFrom({"b": 2, "a": 1}).digest
    assert MadeFrom({"a": 1}).digest != MadeFrom({"a": 1.5}).digest


def test_home_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workdir("~/runs/a").root == tmp_path / "runs" / "a"


def test_artefacts_have_json_and_path(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    assert workdir.path("prune.json") == tmp_path / "prune.json"
    assert not workdir.has("prune.json")
    workdir.write_json("prune.json", {"kept": np.int64(3), "score": math.nan})
    assert workdir.has("prune.json")
    assert workdir.read_json("prune.json") == {"kept": 3, "score": None}


def test_missing_artefact_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match=r"prune\.json is missing; run the stage"):
        Workdir(tmp_path).read_json("prune.json")


@pytest.mark.parametrize(
    ("content", "position"),
    [
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b"", "line 1 column 1"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": "\xff"}', "position 7"),
    ],
)
def test_broken_json_names_file_and_position(
    tmp_path: Path, content: bytes, position: str
) -> None:
    (tmp_path / "prune.json").write_bytes(content)
    with pytest.raises(WorkdirError) as caught:
        Workdir(tmp_path).read_json("prune.json")
    assert str(tmp_path / "prune.json") in str(caught.value)
    assert position in str(caught.value)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_keeps_the_old_artefact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    workdir = Workdir(tmp_path)
    workdir.write_text("report.html", "old")

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(WorkdirError, match="No space left on device"):
        workdir.write_text("report.html", "new")
    assert names(tmp_path) == ["report.html"]
    assert workdir.path("report.html").read_text() == "old"


def test_value_that_is_no_json_keeps_the_old_artefact(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    workdir.write_json("a.json", 1)
    with pytest.raises(TypeError, match="object .* cannot be written as JSON"):
        workdir.write_json("a.json", {"x": object()})
    assert workdir.read_json("a.json") == 1


def test_atomic_write_goes_through_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A rename is atomic only within a file system.
    moves = []
    rename = os.replace

    def record(source: Path, target: Path) -> None:
        moves.append((source.parent, source.read_text(), target))
        rename(source, target)

    monkeypatch.setattr(os, "replace", record)
    write_atomically(tmp_path / "a.txt", "ä")
    assert moves == [(tmp_path, "ä", tmp_path / "a.txt")]


def test_to_jsonable_turns_everything_into_plain_values(tmp_path: Path) -> None:
    value = {
        "float32": np.float32(0.5),
        "float64": np.float64("nan"),
        "bool": np.bool_(True),
        "array": np.array([[1.0, np.inf], [-np.inf, 2.0]]),
        "integers": np.arange(2),
        "tuple": (1, "a", None, True),
        "range": range(2, 6),
        "path": tmp_path,
    }
    plain = to_jsonable(value)
    assert plain == {
        "float32": 0.5,
        "float64": None,
        "bool": True,
        "array": [[1.0, None], [None, 2.0]],
        "integers": [0, 1],
        "tuple": [1, "a", None, True],
        "range": [2, 3, 4, 5],
        "path": str(tmp_path),
    }
    assert type(plain["bool"]) is bool
    assert json.loads(dumps(value)) == plain


def test_to_jsonable_takes_jax_arrays() -> None:
    import jax.numpy as jnp

    assert to_jsonable({"a": jnp.ones(2), "b": jnp.bfloat16(0.5)}) == {
        "a": [1.0, 1.0],
        "b": 0.5,
    }


@pytest.mark.parametrize("value", [{1: "a"}, object(), {1, 2}, b"bytes", 1j])
def test_to_jsonable_refuses_what_json_lacks(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_json_values_stay_as_they_are(value: Any) -> None:
    assert to_jsonable(value) == value
    assert json.loads(dumps(value)) == value
    assert differences(value, value) == []


@given(st.dictionaries(st.text(), JSON_VALUES), st.text(), st.integers())
def test_one_changed_field_is_one_difference(
    tree: dict[str, Any], key: str, number: int
) -> None:
    old = {"outer": {**tree, key: number}}
    new = {"outer": {**tree, key: number + 1}}
    assert differences(old, new) == [f"outer.{key}: {number}, now {number + 1}"]


def test_differences_name_removed_and_added_fields() -> None:
    assert differences({"a": 1, "b": {"c": (1, 2)}}, {"b": {"c": [1, 2], "d": 0}}) == [
        "a: 1, now absent",
        "b.d: absent, now 0",
    ]


def test_environment_describes_software_and_device() -> None:
    import jax

    environment = describe_environment(["nas-jax", "prune", "--x=1"], seed=7)
    assert environment["command"] == ["nas-jax", "prune", "--x=1"]
    assert environment["seed"] == 7
    assert environment["jax"] == jax.__version__
    assert environment["backend"] == jax.default_backend()
    assert environment["device_count"] == jax.device_count()
    assert environment["date"].endswith("+00:00")
    for name in ("nas_jax", "jaxlib", "flax", "optax", "numpy", "python"):
        assert environment[name][0].isdigit()
    assert environment.keys() >= {"git_commit", "platform", "device_kind"}
    dumps(environment)


def test_git_commit_of_a_checkout_and_of_a_plain_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert git_commit(tmp_path) is None
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "n")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "n@example.org")

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout

    git("init", "-q")
    assert git_commit(tmp_path) is None
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-qm", "a")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD").strip()
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("b")
    assert git_commit(tmp_path) == f"{commit}-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path) is None
