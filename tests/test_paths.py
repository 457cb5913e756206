"""Paths of users: the home folder, remote ones, and outputs that are inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_jax.errors import NasJaxError
from nas_jax.paths import PathError, local_path, refuse_overwriting


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/a") == tmp_path / "a"
    assert local_path("a/~b") == Path("a/~b")


def test_unknown_home_is_refused() -> None:
    with pytest.raises(PathError, match="~nobody-of-that-name/x"):
        local_path("~nobody-of-that-name/x")


@pytest.mark.parametrize(
    "path", ["gs://bucket/run", "s3://b/x", "hdfs://h/x", "file:///tmp/x", "gs:/b"]
)
def test_remote_paths_are_refused(path: str) -> None:
    with pytest.raises(NasJaxError) as caught:
        local_path(path)
    assert path in str(caught.value)


@pytest.mark.parametrize("path", ["a:b", "configs/x.py", "/a/b:c/d", "", "./gs:/b"])
def test_other_paths_stay(path: str) -> None:
    assert local_path(path) == Path(path)


def test_a_remote_input_is_no_output(tmp_path: Path) -> None:
    refuse_overwriting({"--json": tmp_path / "r"}, {"data": "gs://bucket/r", "x": ""})


def links(folder: Path) -> list[Path]:
    """The ways to name one file."""
    file = folder / "in.csv"
    file.write_text("mine")
    hard, soft = folder / "hard.csv", folder / "soft.csv"
    os.link(file, hard)
    soft.symlink_to(file)
    (folder / "sub").mkdir()
    return [file, hard, soft, folder / "sub" / ".." / "in.csv"]


def test_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    file, *others = links(tmp_path)
    for other in [file, *others]:
        with pytest.raises(PathError) as caught:
            refuse_overwriting({"--csv": other}, {"--table": file})
        assert "--csv" in str(caught.value) and "--table" in str(caught.value)
    missing = tmp_path / "new.csv"
    with pytest.raises(PathError):
        refuse_overwriting({"--csv": missing}, {"--json": str(missing)})
    refuse_overwriting(
        {"--csv": missing, "--json": ""}, {"--table": file, "--archs": ""}
    )
