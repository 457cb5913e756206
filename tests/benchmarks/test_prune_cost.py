"""PyTorch's thin network of TE-NAS is ours, and the benchmark runs through."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas import ThinDarts
from nas_jax.proxies import Batch
from nas_jax.proxies.ntk import weight_gradients
from nas_jax.proxies.regions import count_regions
from nas_jax.proxies.spectrum import condition_number
from nas_jax.scoring import scored_network
from nas_jax.spaces import NONE, SpaceMask, darts_space

torch = pytest.importorskip(
    "torch", reason="needs PyTorch: pip install -e '.[benchmark]'"
)

from benchmarks import prune_cost, torch_thin  # noqa: E402

SPACE = darts_space(1)
CLASSES, BATCH, SIZE, CROPS = 5, 6, 8, 120
EXACT = 1e-9
"""Of the largest magnitude, in float64. Sums over pixels are in another order."""
CANDIDATES = (None, ("normal", 1, "sep_conv_3x3"), ("reduce", 0, "skip_connect"))
"""The whole network, and two without an operation."""


class Scores(NamedTuple):
    """What either library says of a candidate; kernels are `[B, B]`."""

    kernel: np.ndarray
    condition: float
    regions: float


def test_networks_have_equal_kernels_conditions_and_regions() -> None:
    ours, theirs = _ours(), _theirs()
    for a, b in zip(ours, theirs, strict=True):
        largest = np.abs(b.kernel).max()
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=0, atol=EXACT * largest)
        # An eigenvalue is off by what the kernel is off by.
        assert a.condition == pytest.approx(b.condition, rel=EXACT * b.condition)
        assert a.regions == pytest.approx(b.regions, abs=1e-3)
        assert 2 < b.regions < CROPS
    # The candidates are different networks, so they cannot be equal by accident.
    assert len({round(s.condition, 6) for s in theirs}) == len(CANDIDATES)


def test_parameters_by_hand() -> None:
    # Stem 27 + 2; edges: convolution of 1 or 2 channels, 1x1 and normalisation.
    def edge(c: int) -> int:
        sizes = {"sep": 2 * (9 + 25), "dil": 9 + 25}
        return sum(sizes.values()) * c + 6 * (c * c + 2 * c)

    def project(n: int, c: int) -> int:
        return n * c + 2 * c

    normal = 2 * project(1, 1) + 14 * edge(1)
    reduce = project(1, 2) + project(4, 2) + 14 * edge(2) + 8 * (2 * 2 + 2 * 2)
    ends = 27 + 2 + 2 * 8 + 8 * 10 + 10
    network = torch_thin.ThinDarts(darts_space(), 10)
    count = sum(p.numel() for p in network.parameters())
    assert count == normal + reduce + ends == 5431


def test_regions_by_hand() -> None:
    active = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 0, 1], [1, 1, 1]]).float()
    assert torch_thin.count_patterns(active) == pytest.approx(3)


def test_what_is_gone_is_not_computed() -> None:
    network = torch_thin.ThinDarts(SPACE, CLASSES)
    weights = torch_thin.mixture(_live(("normal", 1, "sep_conv_3x3")))
    assert weights["normal"][1][SPACE.cell("normal").ops.index("sep_conv_3x3")] == 0
    assert sum(weights["normal"][1]) == pytest.approx(1)
    images = torch.zeros((2, 3, SIZE, SIZE))
    row = torch_thin.weight_gradients(network, weights, images)[0]
    every = sum(p.numel() for n, p in network.named_parameters() if "weight" in n)
    # Two times 3x3, 1x1 and a factor of the normalisation.
    assert row.numel() == every - 2 * (9 + 1 + 1)


def test_score_of_a_candidate_is_the_relative_change() -> None:
    torch.manual_seed(0)
    network = torch_thin.ThinDarts(SPACE, CLASSES)
    operation = ("reduce", 1, "dil_conv_5x5")
    images, crops = torch.randn(4, 3, SIZE, SIZE), torch.randn(30, 1, 3, 3)
    score = torch_thin.score_candidate(
        network, _live(None), operation, [images], [[crops]]
    )
    whole, pruned = (
        torch_thin.ntk_condition(network, torch_thin.mixture(_live(o)), images)
        for o in (None, operation)
    )
    assert score[0] == pytest.approx((whole - pruned) / whole, abs=2e-3)
    assert -1 < score[1] < 1


@pytest.mark.parametrize("count", [1, 7, 12, 196])
def test_chosen_candidates_are_spread(count: int) -> None:
    everything = [(c, e, o) for c in "nr" for e in range(14) for o in range(7)]
    chosen = prune_cost.spread(everything, count)
    assert len(set(chosen)) == count
    if count == 12:
        assert len({o for _, _, o in chosen}) == 7
        assert sum(c == "n" for c, _, _ in chosen) in (5, 6, 7)
        assert len({e for _, e, _ in chosen}) >= 8


def test_runs_through(tmp_path: Path, repo_root: Path) -> None:
    out = tmp_path / "prune_cost.json"
    sizes = ["--nodes=1", "--image_size=8", "--batch=4", "--repeats=1"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.prune_cost", *sizes),
            *("--torch_candidates=2", "--torch_convolutions=native", f"--out={out}"),
        ],
        cwd=repo_root,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [r["torch_convolutions"] for r in rows] == ["native"]
    for row in rows:
        assert row["seconds"] > row["compile_seconds"] > 0
        assert row["candidates"] == 2 * 2 * 7 and row["torch_candidates"] == 2
        assert row["networks_scored"] == 1 + row["candidates"]
        assert row["rounds"] == row["repeats"] == 1
        scaled = row["torch_seconds_measured"] * row["candidates"] / 2
        assert row["torch_seconds"] == pytest.approx(scaled)
        assert row["ratio"] == pytest.approx(row["seconds"] / row["torch_seconds"])
        assert set(row["versions"]) == {"python", "jax", "torch"}
        assert row["cpu_count"] >= 1 and row["torch_threads"] >= 1


def _live(without: Any) -> dict[str, np.ndarray]:
    mask = SpaceMask.full(SPACE).drop(
        [o for o in SPACE.operations() if o[2] == NONE or o == without]
    )
    return {cell: np.asarray(a, np.float64) for cell, a in mask.arrays().items()}


@functools.cache
def _images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(BATCH, SIZE, SIZE, 3))


@functools.cache
def _crops() -> np.ndarray:
    # Of few values, so that some crops fall into one region.
    return np.random.default_rng(2).choice(
        [0.0, 1.0], size=(CROPS, 3, 3, 1), p=[0.8, 0.2]
    )


@functools.cache
def _weights(stem: bool) -> Mapping[str, Any]:
    """Ours, with shifts, scales and biases that are not ones and zeros."""
    network = ThinDarts(SPACE, CLASSES, stem=stem)
    shapes = network.init(jax.random.key(0), (8, 8, 3))
    rng = np.random.default_rng(3)
    return jax.tree.map(
        lambda x: np.asarray(x, np.float64) + rng.normal(0, 0.1, x.shape), shapes
    )


def _ours() -> list[Scores]:
    network, thin = (ThinDarts(SPACE, CLASSES, stem=s) for s in (True, False))

    @jax.jit
    def score(params: Any, thin_params: Any, live: Any) -> tuple[jax.Array, ...]:
        batch = Batch(jnp.asarray(_images()), jnp.zeros(BATCH, jnp.int32))
        rows = weight_gradients(scored_network(network, params, live), batch)
        bare = scored_network(thin, thin_params, live)
        seen = bare.tell(thin_params, jnp.asarray(_crops()))
        assert seen.relu_inputs is not None
        regions = count_regions(seen.relu_inputs)
        return rows @ rows.T, condition_number(rows), regions

    params = _weights(True), _weights(False)
    with jax.enable_x64():
        found = [score(*params, _live(operation)) for operation in CANDIDATES]
        return [
            Scores(np.asarray(kernel), float(condition), float(regions))
            for kernel, condition, regions in found
        ]


def _theirs() -> list[Scores]:
    network = torch_thin.ThinDarts(SPACE, CLASSES).double()
    thin = torch_thin.ThinDarts(SPACE, CLASSES, stem=False).double()
    _fill(network, _weights(True))
    _fill(thin, _weights(False))
    images, crops = (
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in (_images(), _crops())
    )
    found = []
    for operation in CANDIDATES:
        weights = torch_thin.mixture(_live(operation))
        rows = torch_thin.weight_gradients(network, weights, images)
        found.append(
            Scores(
                (rows @ rows.T).numpy(),
                torch_thin.ntk_condition(network, weights, images),
                torch_thin.linear_regions(thin, weights, [crops]),
            )
        )
    return found


def _fill(network: Any, params: Mapping[str, Any]) -> None:
    """Our parameters into PyTorch's network."""
    if "stem" in params:
        stem = params["stem"]
        _copy(network.stem.conv.weight, stem["kernel"].transpose(3, 2, 0, 1))
        _fill_norm(network.stem.norm, stem)
    for cell in network.cells:
        _fill_cell(cell, params[cell.name])
    _fill_norm(network.last[0], params["last"])
    _copy(network.classifier.weight, params["classifier"]["kernel"].T)
    _copy(network.classifier.bias, params["classifier"]["bias"])


def _fill_cell(cell: Any, params: Mapping[str, Any]) -> None:
    for name in ("preprocess_0", "preprocess_1"):
        module = getattr(cell, name)
        _copy(module.pointwise.weight, params[name]["kernel"].T[:, :, None, None])
        _fill_norm(module.norm, params[name])
    # Ours are stacked by source, then target.
    rows = sorted(range(len(cell.spec.edges)), key=lambda e: cell.spec.edges[e])
    for row, edge in enumerate(rows):
        for op, module in cell.edges[edge].items():
            if isinstance(module, torch_thin.FactorizedReduce):
                stack = _row(params[op], row)
                for name in ("pointwise_even", "pointwise_odd"):
                    weight = getattr(module, name).weight
                    _copy(weight, stack[name].T[:, :, None, None])
                _fill_norm(module.norm, stack)
            elif "conv" in op:
                stages = module if op.startswith("sep") else [module]
                names = sorted(params[op])
                for stage, name in zip(stages, names, strict=True):
                    stack = _row(params[op][name], row)
                    depthwise = stack["depthwise"].transpose(2, 0, 1)[:, None]
                    _copy(stage.depthwise.weight, depthwise)
                    pointwise = stack["pointwise"].T[:, :, None, None]
                    _copy(stage.pointwise.weight, pointwise)
                    _fill_norm(stage.norm, stack)


def _row(stacks: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: stack[row] for name, stack in stacks.items()}


def _fill_norm(norm: Any, params: Mapping[str, Any]) -> None:
    _copy(norm.weight, params["scale"])
    _copy(norm.bias, params["shift"])


def _copy(parameter: Any, value: np.ndarray) -> None:
    assert parameter.shape == value.shape
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(value)))
