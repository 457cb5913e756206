"""The trade-off study: rows, going on, table and plot."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.spaces import SpaceMask, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of, official_order

ROOT = Path(__file__).parents[2]


def run(module: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *flags],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )


def start(module: str, *flags: str) -> str:
    result = run(module, *flags)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Flags for 40 images of 8x8 and for accuracies that count 3x3 convolutions."""
    folder = tmp_path_factory.mktemp("tradeoff")
    rng = np.random.default_rng(0)
    images = {
        f"x_{part}": rng.integers(256, size=(n, 8, 8, 3), dtype=np.uint8)
        for part, n in (("train", 40), ("test", 8))
    }
    labels = {
        f"y_{part}": np.arange(len(images[f"x_{part}"])) % 4
        for part in ("train", "test")
    }
    np.savez(folder / "images.npz", **images, **labels)
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch_str", "c10_test"])
        for ops in official_order():
            writer.writerow([str(genotype_of(ops)), 10.0 * ops.count("nor_conv_3x3")])
    return f"--images={folder / 'images.npz'}", f"--table={folder / 'table.csv'}"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_masks_alone_and_going_on(inputs: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    flags = (*inputs, "--nosearch", "--strategies=random", "--image_size=4")
    start("tradeoff", *flags, "--levels=0.5", "--seeds=0,1", f"--out={out}")
    first = out.read_text()
    start("tradeoff", *flags, "--levels=0,0.5", "--seeds=0,1", f"--out={out}")
    # What was there is kept, and what was missing is added.
    assert out.read_text().startswith(first)
    rows = rows_of(out)
    assert [(r["strategy"], r["level"], r["seed"]) for r in rows] == [
        ("random", 0.5, 0),
        ("random", 0.5, 1),
        ("none", 0.0, 0),
        ("none", 0.0, 1),
    ]
    for row in rows:
        mask = SpaceMask.from_json(nasbench201_space(), json.dumps(row["mask"]))
        assert row["kept"] == mask.num_kept == (30 if row["level"] == 0 else 12)
        share = [("nor_conv_3x3" in ops) / len(ops) for ops in mask.cell("cell")]
        assert row["kept_mean"] == pytest.approx(10 * sum(share))
        most = sum("nor_conv_3x3" in ops for ops in mask.cell("cell"))
        assert row["kept_best"] == pytest.approx(10 * most)
        assert "accuracy" not in row
        assert row["setting"]["image_shape"] == [4, 4, 3]
    # Rows of another study are refused.
    before = out.read_text()
    result = run("tradeoff", *flags, "--levels=0", "--image_size=8", f"--out={out}")
    assert result.returncode != 0
    assert "image_shape [4, 4, 3], and now it is [8, 8, 3]" in result.stderr
    assert out.read_text() == before


def test_what_pruning_alone_decides_is_looked_up_and_judged_again(
    inputs: tuple[str, str], tmp_path: Path
) -> None:
    found, out = tmp_path / "found.jsonl", tmp_path / "rows.jsonl"
    flags = ("--strategies=random", "--levels=0.875", "--image_size=8")
    start("tradeoff", *inputs, *flags, "--seeds=3", f"--out={found}")
    (row,) = rows_of(found)
    assert row["kept"] == 6 and row["search_seconds"] == 0
    assert row["accuracy"] == 10.0 * row["genotype"].count("nor_conv_3x3")
    assert row["accuracy"] == row["kept_mean"]
    found.write_text(json.dumps(row | {"accuracy": 0.0}))
    again = (*inputs, *flags, f"--found={found}", f"--out={out}")
    start("tradeoff", *again, "--seeds=3")
    expected = row | {"found_setting": row["setting"]}
    assert rows_of(out) == [expected]
    result = run("tradeoff", *again, "--seeds=4")
    assert "has no row of random, level 0.875, seed 4" in result.stderr
    result = run("tradeoff", *again, "--seeds=3", "--batch=8")
    assert "with batch_size 64, and now it is 8" in result.stderr
    assert rows_of(out) == [expected]


@pytest.mark.slow
def test_found_architectures_are_retrained(
    inputs: tuple[str, str], tmp_path: Path
) -> None:
    found, out = tmp_path / "found.jsonl", tmp_path / "rows.jsonl"
    flags = ("--strategies=random", "--levels=0.875", "--seeds=3", "--image_size=8")
    flags = (*flags, "--batch=8")
    start("tradeoff", *inputs, *flags, f"--out={found}")
    retrain = ("--retrain_channels=2", "--retrain_layers=1", "--retrain_epochs=1")
    start("tradeoff", inputs[0], *flags, *retrain, f"--found={found}", f"--out={out}")
    (row,) = rows_of(out)
    assert row["genotype"] == rows_of(found)[0]["genotype"]
    assert row["setting"]["retrained"] == [2, 1, 1]
    assert row["found_setting"]["accuracy"] == "c10_test" and "kept_mean" not in row
    # Of 8 test images.
    assert row["accuracy"] % 12.5 == 0 and row["parameters"] > 0


@pytest.mark.slow
def test_a_search_on_what_is_left(inputs: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    start(
        "tradeoff",
        *inputs,
        "--strategies=random",
        "--levels=0.5",
        "--seeds=0",
        "--channels=2",
        "--image_size=8",
        "--batch=8",
        "--steps=10",
        f"--out={out}",
    )
    (row,) = rows_of(out)
    # 20 images of the weights' half are 2 batches, in 5 epochs.
    assert row["steps"] == 10
    assert row["step_peak_bytes"] > 0 and row["step_seconds"] > 0
    assert row["accuracy"] == 10.0 * row["genotype"].count("nor_conv_3x3")


def test_table_and_plot(tmp_path: Path) -> None:
    rows = [
        {
            "strategy": s,
            "level": level,
            "seed": seed,
            "kept": kept,
            "accuracy": a + seed,
        }
        | {"kept_mean": a - 1.0, "step_peak_bytes": kept * 2**20, "step_seconds": 0.05}
        for s, level, kept, a in (("none", 0.0, 30, 90.0), ("random", 0.5, 12, 80.0))
        for seed in (0, 2)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = start("tradeoff_report", f"--rows={file}", f"--out={tmp_path / 'plot'}")
    lines = out.splitlines()
    # Means of 90 and 92, 80 and 82; the deviation of two values 2 apart is 2 ** 0.5.
    assert (
        "| none | 0 | 2 | 30 | 30.0 | 50 | – | – | 91.00 ± 1.41 | 89.00 ± 0.00 |"
        in lines
    )
    assert (
        "| random | 0.5 | 2 | 12 | 12.0 | 50 | – | – | 81.00 ± 1.41 | 79.00 ± 0.00 |"
        in lines
    )
    svg = (tmp_path / "plot.svg").read_text()
    assert "pruning level" in svg and "random" in svg and "te_nas" not in svg


def test_an_outlier_is_written_at_the_edge(tmp_path: Path) -> None:
    rows = [
        {"strategy": s, "level": level, "seed": seed, "kept": 12, "accuracy": value}
        for s, level, values in (
            ("none", 0.0, (90.0, 91.0, 92.0)),
            ("random", 0.5, (90.0, 91.0, 93.0)),
            ("sampled", 0.5, (10.0,)),
        )
        for seed, value in enumerate(values)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    start("tradeoff_report", f"--rows={file}", f"--out={tmp_path / 'plot'}")
    svg = (tmp_path / "plot.svg").read_text()
    assert "sampled: 10.0" in svg and "random: " not in svg
