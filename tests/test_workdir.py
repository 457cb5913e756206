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

from nas_jax.errors import WorkdirError
from nas_jax.jsonable import differences, dumps, to_jsonable
from nas_jax.workdir import Workdir, describe_environment, git_commit, write_atomically

CONFIG = '{"name": "a", "search": {"epochs": 3}}'


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_open_creates_the_folder_with_config_and_environment(tmp_path: Path) -> None:
    root = tmp_path / "new" / "run"
    workdir = Workdir.open(root, CONFIG, {"jax": "1"})
    assert names(root) == ["config.json", "environment.json"]
    assert workdir.read_json("config.json") == json.loads(CONFIG)
    assert workdir.read_json("environment.json") == {"jax": "1", "earlier": []}


def test_open_again_goes_on_and_remembers_earlier_starts(tmp_path: Path) -> None:
    for version in ("1", "2", "3"):
        workdir = Workdir.open(tmp_path, CONFIG, {"jax": version})
    assert workdir.read_json("environment.json") == {
        "jax": "3",
        "earlier": [{"jax": "1"}, {"jax": "2"}],
    }


def test_another_experiment_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    Workdir.open(tmp_path, CONFIG, {"jax": "1"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = '{"name": "a", "search": {"epochs": 4, "layers": 8}}'
    with pytest.raises(WorkdirError) as caught:
        Workdir.open(tmp_path, other, {"jax": "2"})
    message = str(caught.value)
    assert "search.epochs: 3, now 4; search.layers: absent, now 8" in message
    assert "--workdir" in message
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(WorkdirError, match="is a file; give a folder as --workdir"):
        Workdir.open(path, CONFIG, {})
    assert path.read_text() == "mine"


def test_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorkdirError, match="cannot write to workdir .*file/run: Not a"):
        Workdir.open(tmp_path / "file" / "run", CONFIG, {})
    assert names(tmp_path) == ["file"]


def test_read_only_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write to a read-only folder, so the operating system's answer is faked.
    def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("nas_jax.workdir.open", refuse, raising=False)
    with pytest.raises(WorkdirError, match=r"cannot write to .*: Permission denied; g"):
        Workdir.open(tmp_path, CONFIG, {})
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["config.json", "environment.json"])
@pytest.mark.parametrize("text", ['{"name": ', "[1]"])
def test_broken_artefact_of_before_is_refused(
    tmp_path: Path, name: str, text: str
) -> None:
    Workdir.open(tmp_path, CONFIG, {})
    (tmp_path / name).write_text(text)
    with pytest.raises(WorkdirError, match=name):
        Workdir.open(tmp_path, CONFIG, {})
    assert (tmp_path / name).read_text() == text


def test_artefacts_have_json_has_path_and_stage(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    assert workdir.path("prune.json") == tmp_path / "prune.json"
    assert not workdir.has("prune.json")
    assert not workdir.stage_done("prune")
    workdir.write_json("prune.json", {"kept": np.int64(3), "score": math.nan})
    assert workdir.has("prune.json")
    assert workdir.stage_done("prune")
    assert not workdir.stage_done("search")
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
