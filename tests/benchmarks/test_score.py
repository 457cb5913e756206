"""The proxies' PyTorch baseline has our networks, and their benchmark runs through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from nas_jax.proxies import Batch, get_proxy
from nas_jax.scoring import ScoredArchitectures, sample_genotypes
from nas_jax.spaces import nasbench201_space
from nas_jax.spaces.nasbench201 import operations_of

torch = pytest.importorskip("torch", reason="needs the extra benchmark (PyTorch)")

CHANNELS, CELLS, CLASSES = 4, 2, 10


def test_parameters_are_ours() -> None:
    from benchmarks.torch_scores import Network

    family = ScoredArchitectures(nasbench201_space(), channels=CHANNELS, cells=CELLS)
    params = family.init(jax.random.key(0), (8, 8, 3))
    genotypes = sample_genotypes(family.space, 6, seed=0)
    codes = family.encode(genotypes)
    batch = Batch(np.zeros((2, 8, 8, 3)), np.zeros(2, int))  # type: ignore[arg-type]
    counts = set()
    for index, genotype in enumerate(genotypes):
        network = Network(operations_of(genotype), CHANNELS, CELLS, CLASSES)
        theirs = sum(p.numel() for p in network.parameters())
        mine = family.scored(params, jax.tree.map(lambda c, i=index: c[i], codes))
        ours = get_proxy("params").score(mine, batch, jax.random.key(0))
        assert theirs == int(ours)
        counts.add(theirs)
    assert len(counts) > 2


def test_nwot_by_hand() -> None:
    from benchmarks.torch_scores import nwot

    network = torch.nn.Sequential(torch.nn.ReLU())
    images = torch.tensor([[1.0, -1.0, 2.0], [1.0, 1.0, -2.0]])
    # Both agree with themselves on three ReLUs, and with each other on one.
    score = nwot(network, images, torch.zeros(2))
    assert score == pytest.approx(np.log(3 * 3 - 1 * 1))


def test_runs_through(tmp_path: Path, repo_root: Path) -> None:
    out = tmp_path / "score.json"
    sizes = ["--sizes=2x1", "--image_size=8", "--batch=4", "--num=4", "--chunk=2"]
    sizes.append("--proxies=nwot,snip")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.score", *sizes, f"--out={out}"],
        cwd=repo_root,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["proxy"] for row in rows] == ["nwot", "snip"]
    for row in rows:
        assert row["archs_per_second"] > 0 and row["torch_archs_per_second"] > 0
        assert row["compile_seconds"] > 0 and row["architectures"] == 4
        ratio = row["archs_per_second"] / row["torch_archs_per_second"]
        assert row["ratio"] == pytest.approx(ratio)
