"""What `nas-jax retrain --genotype` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas_jax.cli.stage_command import read_genotype
from nas_jax.errors import GenotypeError
from nas_jax.paths import PathError
from nas_jax.scoring import sample_genotypes
from nas_jax.spaces import darts_space

SPACE = darts_space()
(GENOTYPE,) = sample_genotypes(SPACE, 1, seed=0)


def read(text: str) -> Any:
    return read_genotype(SPACE, text)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("before", ["", "BEST = ", "05/14 09:21:08 PM genotype = "])
def test_text_and_file(tmp_path: Path, mark: str, before: str) -> None:
    text = f"{mark}{before}{GENOTYPE}\n".replace("], ", "],\n  ")
    assert read(text) == GENOTYPE
    (tmp_path / "best.txt").write_text(text, encoding="utf-8")
    assert read(str(tmp_path / "best.txt")) == GENOTYPE


def test_home_folder_and_remote_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "best.txt").write_text(str(GENOTYPE))
    assert read("~/best.txt") == GENOTYPE
    with pytest.raises(PathError, match="gs://bucket/best.txt is a remote path"):
        read("gs://bucket/best.txt")


@pytest.mark.parametrize("text", ["missing.txt", "x" * 5000, "a\0b", "Genotype("])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(GenotypeError, match="not a genotype"):
        read(text)
