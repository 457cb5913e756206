"""Architectures with a node that no signal reaches, among all of NAS-Bench-201."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import Candidates, Size
from nas_jax.proxies import Batch, failures, nwot, zen
from nas_jax.scoring import ScoredArchitectures, scored_network
from nas_jax.spaces import NASBENCH201_OPS, SpaceMask, darts_space, nasbench201_space
from nas_jax.spaces.nasbench201 import official_order

FAST = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(3)
EDGES = nasbench201_space().cells[0].edges
NONE, SKIP, CONV1, CONV3, _ = NASBENCH201_OPS
FAMILY = ScoredArchitectures(nasbench201_space(), 3, channels=2, cells=1)
IMAGES = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
BATCH = Batch(IMAGES, jnp.arange(3))
# The second node of `zero` is a sum of nothing, and a convolution reads it.
ZERO = (NONE, CONV3, CONV1, SKIP, CONV3, CONV1)
WITHOUT = (NONE, CONV3, NONE, SKIP, NONE, CONV1)


def reached(operations: tuple[str, ...]) -> set[int]:
    """Nodes that depend on the cell's input."""
    nodes = {0}
    for (source, target), op in zip(EDGES, operations, strict=True):
        if source in nodes and op != NONE:
            nodes.add(target)
    return nodes


def convolved(operations: tuple[str, ...]) -> set[int]:
    """Nodes that a convolution reads."""
    pairs = zip(EDGES, operations, strict=True)
    return {source for (source, _), op in pairs if op in (CONV1, CONV3)}


@functools.cache
def scores(architectures: tuple[tuple[str, ...], ...]) -> np.ndarray:
    """zen and nwot of architectures `[N, 2]`, in one program."""
    params = FAMILY.init(jax.random.key(1), IMAGES.shape[1:])

    def one(operations: Any) -> jax.Array:
        network = FAMILY.scored(params, {"operations": operations})
        return jnp.stack([f(network, BATCH, KEY) for f in (zen, nwot)])

    codes = [[NASBENCH201_OPS.index(op) for op in a] for a in architectures]
    run = jax.jit(functools.partial(jax.lax.map, one), compiler_options=FAST)
    return np.asarray(run(jnp.asarray(codes, jnp.int32)))


def test_scores_of_all_architectures() -> None:
    """zen fails where no path leads through, nwot where none leads to a ReLU."""
    architectures = tuple(official_order())
    assert len(architectures) == 15_625
    zeros = [bool(convolved(a) - reached(a)) for a in architectures]
    assert sum(zeros) == 2_290
    through = np.array([3 in reached(a) for a in architectures])
    seen = np.array([bool(convolved(a) & reached(a)) for a in architectures])
    assert (~through).sum() == 341 and (~through & ~seen).sum() == 201
    found = scores(architectures)
    assert np.isfinite(found[through, 0]).all()
    assert np.isneginf(found[~through, 0]).all()
    assert np.isfinite(found[through | seen, 1]).all()
    assert np.isneginf(found[~through & ~seen, 1]).all()
    reason = failures(found[~through, 0])[0]
    assert reason is not None and "no path leads from the images" in reason


def test_a_convolution_of_zeros_adds_nothing() -> None:
    assert convolved(ZERO) - reached(ZERO) == {1}
    zero, without = scores((ZERO, WITHOUT))
    assert zero[0] == pytest.approx(without[0], rel=1e-6)


def test_a_convolution_of_zeros_in_a_supernet() -> None:
    space = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
    supernet = Candidates(SpaceMask.full(space), Size(2, 1), 3)
    params = supernet.init(jax.random.key(1), IMAGES.shape[1:])
    cell = space.cell("reduce")
    # Node 2 gets nothing, and what leaves it by edge 4 is nothing.
    assert [cell.edges[e] for e in (0, 1, 4)] == [(0, 2), (1, 2), (2, 3)]
    live = SpaceMask.full(space).arrays()
    live["reduce"][:2] = [1, 0, 0, 0]
    without = {**live, "reduce": live["reduce"].copy()}
    without["reduce"][4] = [1, 1, 0, 0]

    def score(live: Any) -> Any:
        return zen(scored_network(supernet, params, live), BATCH, KEY)

    run = jax.jit(score, compiler_options=FAST)
    found = float(run(live))
    assert np.isfinite(found)
    assert found == pytest.approx(float(run(without)), rel=1e-6)
