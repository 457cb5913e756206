"""Mistakes in a call of `nas-jax score`: one line, exit code 2, nothing compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas_jax.cli import score
from nas_jax.cli.score import loop
from nas_jax.scoring.sampling import sample_genotypes
from nas_jax.spaces import darts_space, nasbench201_space

FIRST, SECOND = map(str, sample_genotypes(nasbench201_space(), 2, seed=0))


@pytest.fixture(autouse=True)
def no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    def score_all(*_: Any, **__: Any) -> None:
        raise AssertionError("scored in spite of a mistake")

    monkeypatch.setattr(loop, "score_all", score_all)


def mistake(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line of a call that must fail."""
    before = sorted(folder.rglob("*"))
    assert score.main(["--channels=1", "--cells=1", *flags]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return printed.err.removeprefix("nas-jax: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--space=nasbench101"], "flag --space=nasbench101: value should be one of <"),
        (["--num=0"], "flag --num=0: 0 is not a positive integer"),
        (["--seed=4294967296"], "--seed is 4294967296: it must be from 0 to 2**32 - 1"),
        (["--batch_size=many"], "flag --batch_size=many: "),
        (["--workdir=w"], "--workdir: score writes no workdir; give --json=FILE"),
        (["--archs=a", "--num=3"], "--num and --archs both say which architectures"),
        (["--table=t.csv"], "--table and --target go together"),
        (["--plots=p"], "--plots draws scores against an accuracy; give --table"),
        (["--memory_budget=8GiB", "--width=2"], "--memory_budget chooses the width, a"),
        (["--memory_budget=much"], "'much' is no number of bytes; give 16GiB"),
        (["--json=no/r.json"], "--json=no/r.json: create its folder first"),
        (["--json=sub"], "--json=sub is a folder; name a file in it"),
        (["--json=r", "--csv=r"], "--csv r is the file that --json reads"),
        (
            ["--table=t.csv", "--target=test", "--plots=no/plots"],
            "--plots=no/plots: create its folder first",
        ),
        (
            ["--table=t.csv", "--target=test", "--plots=t.csv"],
            "--plots=t.csv is a file; name a folder",
        ),
        (["--proxies=nwot,,snip"], "--proxies has an empty name"),
        (["--proxies=nwto"], "unknown proxy 'nwto'; allowed: epe_nas, fisher, flops"),
        (["--num=15626"], "15626 different architectures are wanted, but space 'nasb"),
        (["--archs=bad.txt"], "bad.txt, line 2: not an architecture of cell 'cell'"),
        (["--archs=t.csv", "--space=darts"], "t.csv, row 1 below the header: not a ge"),
        (["--batch_size=1438"], "--batch_size is 1438, but there are 1437 training im"),
        (
            ["--table=t.csv", "--target=accuracy"],
            "t.csv has no column 'accuracy'; allowed: arch_str, test",
        ),
        (
            ["--table=t.csv", "--target=test", "--num=1", "--seed=5"],
            "t.csv has no 'test' of any of the 1 architectures to score",
        ),
        (["--json=t.csv"], "--json=t.csv is there, but it is no result of nas-jax sc"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "bad.txt").write_text(f"{FIRST}\nbad\n")
    (tmp_path / "t.csv").write_text(f"arch_str,test\n{FIRST},90\n{SECOND},80\n")
    assert mistake(tmp_path, capsys, *flags).startswith(expected)


@pytest.mark.parametrize(("space", "size"), [("nasbench201", 6), ("darts", 9)])
def test_images_that_the_networks_cannot_halve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], space: str, size: int
) -> None:
    flags = ["--config.data.source=synthetic", f"--config.data.image_size={size}"]
    error = mistake(tmp_path, capsys, f"--space={space}", *flags)
    assert f"image size {size}x{size}" in error
    assert "must be" in error


def test_genotypes_that_the_networks_do_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (genotype,) = sample_genotypes(darts_space(), 1, seed=0)
    file = tmp_path / "a.txt"
    other = str(genotype).replace("normal_concat=range(2, 6)", "normal_concat=[4, 5]")
    file.write_text(f"{genotype}\n{other}\n")
    error = mistake(tmp_path, capsys, "--space=darts", f"--archs={file}")
    assert error.startswith(f"{file}, line 2: cell 'normal' concatenates")


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for flag in (
        *("space", "proxies", "num", "archs", "seed", "channels", "cells"),
        *("batch_size", "json", "csv", "chunk", "width", "memory_budget", "table"),
        *("target", "plots"),
    ):
        assert f"  --{flag}=VALUE\n" in printed
    assert "--config=FILE" in printed
