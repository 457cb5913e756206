"""`nas-jax score` on a family whose scores are known by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.cli import score
from nas_jax.cli.score import loop, task
from nas_jax.errors import ConfigError
from nas_jax.proxies import Observed, ScoredNetwork
from nas_jax.run.interrupt import STOPPED
from nas_jax.scoring import Scorer, sample_genotypes
from nas_jax.spaces import NASBENCH201_OPS, Genotype, nasbench201_space
from nas_jax.spaces.nasbench201 import operations_of

SPACE = nasbench201_space()


def code(genotype: Genotype) -> list[int]:
    return [NASBENCH201_OPS.index(op) for op in operations_of(genotype)]


def number(genotype: Genotype) -> int:
    """The architecture as a number of base 5, which the family has as its `flops`."""
    return sum(digit * 5**place for place, digit in enumerate(code(genotype)))


class Fake:
    """Linear networks: `flops` is `number`, `params` 3 weights an operation not none.

    `flops` fails on skip_connect at the first edge (0 / 0) and on avg_pool (1 / 0).
    """

    space = SPACE

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Any:
        if image_shape[0] % 2:
            raise ConfigError(f"image size {image_shape[0]} cannot be halved")
        return {"stack": jnp.ones((6, 3)), "out": jnp.ones((image_shape[-1], 10))}

    def encode(self, genotypes: Sequence[Genotype]) -> Any:
        return {"codes": np.array([code(g) for g in genotypes], np.int32)}

    def scored(self, params: Any, codes: Any) -> ScoredNetwork:
        digits = codes["codes"]
        present = (digits > 0).astype(jnp.float32)

        def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
            return images.mean((1, 2)) @ params["out"] * present.sum()

        def observe(
            params: Any, images: jax.Array, *, norm: Any, gates: Any = None
        ) -> Observed:
            out = logits(params, images, norm=norm)
            return Observed(logits=out, features=out)

        def macs(shape: tuple[int, ...]) -> jax.Array:
            value = jnp.sum(digits * 5 ** jnp.arange(6)).astype(jnp.float32)
            value = jnp.where(digits[0] == 1, jnp.nan, value)
            return jnp.where(digits[0] == 4, jnp.inf, value)

        live = {"stack": present, "out": jnp.ones(())}
        return ScoredNetwork(logits, params, live, observe, macs)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "ScoredArchitectures", lambda *a, **sizes: Fake())


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The proxies of every program that is compiled."""
    found: list[tuple[str, ...]] = []

    class Watched(Scorer):
        def keep(self, name: Any, program: Any) -> None:
            found.append(name[0])
            super().keep(name, program)

    monkeypatch.setattr(loop, "Scorer", Watched)
    return found


class Call:
    """A call of the command in this process, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.file, self.csv = folder / "r.json", folder / "r.csv"
        self.files = (f"--json={self.file}", f"--csv={self.csv}")

    def __call__(self, *flags: str, code: int = 0) -> dict[str, Any]:
        assert score.main([*flags, *self.files]) == code
        value: dict[str, Any] = json.loads(self.file.read_text())
        return value


@pytest.fixture
def call(tmp_path: Path) -> Call:
    return Call(tmp_path)


def expected_rows(genotypes: Sequence[Genotype]) -> list[dict[str, Any]]:
    """Rows with `flops` and `params`, with reasons cut to their first word."""
    rows = []
    for genotype in genotypes:
        digits = code(genotype)
        reason = {1: "not", 4: "infinite:"}.get(digits[0])
        params = 3.0 * sum(digit > 0 for digit in digits) + 10
        rows.append(
            {
                "architecture": str(genotype),
                "scores": {
                    "flops": None if reason else float(number(genotype)),
                    "params": params,
                },
                "failed": {"flops": reason} if reason else {},
            }
        )
    return rows


def cut(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**row, "failed": {k: v.split()[0] for k, v in row["failed"].items()}}
        for row in rows
    ]


@pytest.mark.parametrize(
    ("num", "flags", "calls"),
    [
        # Calls of min(4, chunk) turns of the width on the one device.
        (7, [], [4, 4]),
        (7, ["--width=5", "--chunk=1"], [5, 5]),
        (5, ["--width=2", "--chunk=4"], [4, 4]),
    ],
)
def test_scores_and_one_compilation(
    call: Call,
    compiled: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    num: int,
    flags: list[str],
    calls: list[int],
) -> None:
    sizes = []
    inner = Scorer.__call__

    def counted(self: Scorer, *arguments: Any) -> np.ndarray:
        sizes.append(len(arguments[-1]["codes"]))
        return inner(self, *arguments)

    monkeypatch.setattr(Scorer, "__call__", counted)
    value = call("--proxies=flops,params", f"--num={num}", "--seed=1", *flags)
    assert sizes == calls
    # Both only count, so they share a program: it is compiled once.
    assert compiled == [("flops", "params")]
    genotypes = sample_genotypes(SPACE, num, seed=1)
    assert cut(value["rows"]) == expected_rows(genotypes)
    with open(call.csv, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["arch_str", "flops", "params"]
    assert [row[0] for row in rows] == list(map(str, genotypes))
    for row, wanted in zip(rows, value["rows"], strict=True):
        numbers = [float(cell) if cell else None for cell in row[1:]]
        assert numbers == list(wanted["scores"].values())
    assert value["complete"] is True


def test_what_is_recorded(call: Call) -> None:
    value = call("--num=9", "--proxies=params", "--config.seed=3", "--batch_size=5")
    settings = value["settings"]
    shown = {"space": "nasbench201", "channels": 16, "cells": 5, "num": 9, "seed": 3}
    assert {**settings, **shown, "batch_size": 5, "proxies": ["params"]} == settings
    source = value["environment"]["data"]
    assert source["source"] == "digits" and "flip" not in source
    assert settings["image_shape"] == [8, 8, 1] and settings["num_classes"] == 10
    assert settings["JAX_ENABLE_X64"] is False
    assert value["environment"]["backend"] == "cpu"
    assert value["environment"]["jax"] == jax.__version__
    assert value["width"] == 1 and value["devices"] == jax.device_count()
    assert value["compile_seconds"] > 0 and value["score_seconds"] > 0
    assert value["archs_per_second"] > 0 and value["peak_memory_bytes"] > 0
    assert value["correlations"] is None


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(("chunk", "at", "saved"), [(4, 8, 4), (8, 8, 0)])
def test_a_killed_process_loses_at_most_a_chunk(
    call: Call,
    compiled: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    at: int,
    saved: int,
) -> None:
    flags = ("--num=10", "--proxies=flops,params", f"--chunk={chunk}")
    whole = Call(call.file.parent / "whole")
    whole.file.parent.mkdir()
    expected = whole(*flags)
    add = loop.Results.add

    def killed(self: Any, scores: np.ndarray) -> None:
        add(self, scores)
        if len(self.rows) == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Results, "add", killed)
        with pytest.raises(Killed):
            score.main([*flags, *call.files])
    if saved:
        value = json.loads(call.file.read_text())
        assert len(value["rows"]) == saved and value["complete"] is False
        assert len(call.csv.read_text().splitlines()) == saved + 1
    assert call.file.exists() == bool(saved)
    again = call(*flags)
    assert again["rows"] == expected["rows"] and again["complete"] is True
    assert call.csv.read_bytes() == whole.csv.read_bytes()
    compiled.clear()
    # All is known: nothing is compiled, and nothing changes but what is asked for.
    third = call(*flags)
    assert compiled == [] and third == again


def test_sigterm_saves_and_the_same_call_goes_on(
    call: Call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--num=12", "--proxies=flops,params", "--chunk=12")
    add = loop.Results.add

    def terminated(self: Any, scores: np.ndarray) -> None:
        add(self, scores)
        if len(self.rows) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(loop.Results, "add", terminated)
        value = call(*flags, code=STOPPED)
    assert len(value["rows"]) == 4 and value["complete"] is False
    assert "score stopped by SIGTERM and saved at step 4" in caplog.text
    value = call(*flags)
    assert cut(value["rows"]) == expected_rows(sample_genotypes(SPACE, 12, seed=0))
    (earlier,) = value["environment"]["earlier"]
    assert earlier["backend"] == "cpu"


def test_correlations_with_a_table(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    genotypes = sample_genotypes(SPACE, 40, seed=0)
    table = tmp_path / "table.csv"
    # Accuracy falls with `flops`, and is not known of every tenth.
    rows = [f"{g},{100 - number(g) / 200}" for i, g in enumerate(genotypes) if i % 10]
    table.write_text("\n".join(["arch_str,test", *rows]))
    flags = ("--num=40", "--proxies=flops,params")
    assert call(*flags)["correlations"] is None
    compared = (f"--table={table}", "--target=test", f"--plots={tmp_path / 'plots'}")
    capsys.readouterr()
    found = call(*flags, *compared)["correlations"]
    printed = capsys.readouterr().out
    assert found["table"] == str(table) and found["target"] == "test"
    assert found["missing"] == 4
    known = [genotype for i, genotype in enumerate(genotypes) if i % 10]
    failed = sum(code(genotype)[0] in (1, 4) for genotype in known)
    assert 0 < failed < 36
    flops = found["proxies"]["flops"]
    for name in ("spearman", "kendall"):
        assert flops[name]["value"] == pytest.approx(-1)
        # Of a perfect order every resample is a perfect order.
        assert flops[name]["low"] is None and flops[name]["high"] is None
        assert flops[name]["used"] == 36 - failed
        assert flops[name]["failed"] == failed
    assert flops["higher_is_better"] is True
    params = found["proxies"]["params"]["spearman"]
    assert -1 <= params["low"] < params["value"] < params["high"] <= 1
    assert params["used"] == 36 and params["failed"] == 0
    lines = [line.split() for line in printed.splitlines()]
    ends = [str(36 - failed), str(failed)]
    assert ["flops", "higher", *2 * ["-1.000", "(no", "spread)"], *ends] in lines
    assert "4 architectures have no test and are out" in printed
    for name in ("flops", "params"):
        picture = (tmp_path / "plots" / f"{name}.svg").read_text()
        assert f"{name} against test" in picture
    # They stay where the next call does not ask for them.
    assert call(*flags)["correlations"] == found
