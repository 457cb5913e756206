"""Paths in flags: the home folder everywhere, remote ones nowhere, inputs unharmed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nas_jax.cli.main import main

TINY = f"--config={Path(__file__).with_name('tiny.py')}"
RANDOM = ("--config.prune.strategy=random", "--config.prune.proxies=()")
REMOTE = "gs://bucket/x"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; the working folder is another one."""
    folder, home = tmp_path / "here", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_workdir_and_mask_in_the_home_folder(home: Path) -> None:
    from nas_jax.spaces import SpaceMask, get_space

    mask = SpaceMask.full(get_space("darts", 1))
    smaller = mask.drop([("normal", 0, "none"), ("normal", 0, "sep_conv_5x5")])
    (home / "m.json").write_text(smaller.to_json())
    flags = ["--workdir=~/runs/a", "--config.space.mask=~/m.json", *RANDOM]
    assert main(["prune", TINY, *flags]) == 0
    stored = json.loads((home / "runs" / "a" / "prune.json").read_text())
    assert "sep_conv_5x5" not in stored["mask"]["cells"]["normal"][0]
    assert list(Path().iterdir()) == []


def test_data_and_config_in_the_home_folder(home: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (64, 8, 8, 1), np.uint8)
    y = np.arange(64) % 3
    np.savez(home / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (home / "c.py").write_text(Path(__file__).with_name("tiny.py").read_text())
    flags = ["--config.data.source=npz", "--config.data.path=~/d.npz"]
    flags += ["--config.data.image_size=0", "--workdir", "~/w", *RANDOM]
    assert main(["prune", "--config=~/c.py", *flags]) == 0
    assert (home / "w" / "prune.json").exists()
    assert list(Path().iterdir()) == []


CALLS: list[list[str]] = [
    ["run", TINY, f"--workdir={REMOTE}"],
    ["prune", TINY, f"--workdir={REMOTE}"],
    ["search", TINY, f"--workdir={REMOTE}"],
    ["retrain", TINY, f"--workdir={REMOTE}"],
    ["report", f"--workdir={REMOTE}"],
    ["run", f"--config={REMOTE}.py", "--workdir=w"],
    ["prune", TINY, "--workdir=w", f"--config.space.mask={REMOTE}"],
    *(
        ["prune", TINY, "--workdir=w", f"--config.data.source={source}"]
        + ["--config.data.image_size=0", f"--config.data.path={REMOTE}"]
        for source in ("npz", "folder")
    ),
    ["retrain", TINY, "--workdir=w", f"--genotype={REMOTE}"],
    *(["score", f"--{flag}={REMOTE}"] for flag in ("archs", "json", "csv")),
    ["score", f"--table={REMOTE}", "--target=x"],
    ["score", "--table=t.csv", "--target=x", f"--plots={REMOTE}"],
    *(["memory", TINY, f"--{flag}={REMOTE}.svg"] for flag in ("json", "chart", "mask")),
    ["memory", TINY, f"--target={REMOTE}"],
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(call[:1] + call[-1:]))
def test_remote_paths_are_refused(call: list[str], home: Path, capsys: Any) -> None:
    Path("t.csv").write_text("arch_str,x\n")
    assert main(call) == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("nas-jax: error:")]
    assert REMOTE in line and "remote" in line
    assert [path.name for path in Path().iterdir()] == ["t.csv"]


TABLE = "arch_str,acc\n|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|,50\n"


@pytest.mark.parametrize("link", ["same", "hard", "symbolic", "another spelling"])
@pytest.mark.parametrize("flag", ["json", "csv"])
def test_score_does_not_overwrite_its_inputs(
    home: Path, capsys: Any, link: str, flag: str
) -> None:
    table = Path("t.csv")
    table.write_text(TABLE)
    output = Path("t.csv")
    if link == "hard":
        output = Path("hard.csv")
        os.link(table, output)
    elif link == "symbolic":
        output = Path("soft.csv")
        output.symlink_to(table)
    elif link == "another spelling":
        output = Path("..") / Path.cwd().name / "t.csv"
    flags = ["--archs=t.csv", "--table=t.csv", "--target=acc", f"--{flag}={output}"]
    assert main(["score", *flags]) == 2
    error = capsys.readouterr().err
    assert f"--{flag}" in error and "overwritten" in error
    assert table.read_text() == TABLE


def test_memory_does_not_overwrite_its_inputs(home: Path, capsys: Any) -> None:
    from nas_jax.spaces import SpaceMask, get_space

    text = SpaceMask.full(get_space("darts", 1)).to_json()
    Path("m.json").write_text(text)
    assert main(["memory", TINY, "--mask=m.json", "--json=m.json"]) == 2
    assert "overwritten" in capsys.readouterr().err
    assert Path("m.json").read_text() == text
