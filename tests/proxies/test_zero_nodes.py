"""Architectures with a node that no signal reaches, among all of NAS-Bench-201."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, failures, nwot, zen
from nas_jax.scoring import ScoredArchitectures
from nas_jax.spaces import NASBENCH201_OPS, nasbench201_space
from nas_jax.spaces.nasbench201 import official_order

FAST = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(3)
EDGES = nasbench201_space().cells[0].edges
NONE, SKIP, CONV1, CONV3, _ = NASBENCH201_OPS
FAMILY = ScoredArchitectures(nasbench201_space(), 3, channels=2, cells=1)
IMAGES = jax.random.normal(jax.random.key(0), (3, 8, 8, 3))
BATCH = Batch(IMAGES, jnp.arange(3))


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


def test_scores_of_all_kinds_of_architectures() -> None:
    """zen fails where no path leads through, nwot where none leads to a ReLU."""
    kinds: dict[tuple[bool, ...], list[tuple[str, ...]]] = {}
    for a in official_order():
        there, read = reached(a), convolved(a)
        kind = (bool(read - there), 3 in there, bool(read & there))
        kinds.setdefault(kind, []).append(a)
    counts = {kind: len(members) for kind, members in kinds.items()}
    assert sum(n for (zeros, _, _), n in counts.items() if zeros) == 2_290
    assert sum(n for (_, through, _), n in counts.items() if not through) == 341
    assert sum(n for (_, *told), n in counts.items() if not any(told)) == 201
    rows = [(kind, a) for kind, members in kinds.items() for a in members[:40]]
    # A node that is a sum of nothing, and a convolution reads it; and without that.
    zero, without = (
        (NONE, CONV3, CONV1, SKIP, CONV3, CONV1),
        (NONE, CONV3, NONE, SKIP, NONE, CONV1),
    )
    assert convolved(zero) - reached(zero) == {1}
    params = FAMILY.init(jax.random.key(1), IMAGES.shape[1:])

    def one(operations: Any) -> jax.Array:
        network = FAMILY.scored(params, {"operations": operations})
        return jnp.stack([f(network, BATCH, KEY) for f in (zen, nwot)])

    architectures = [*(a for _, a in rows), zero, without]
    codes = [[NASBENCH201_OPS.index(op) for op in a] for a in architectures]
    run = jax.jit(functools.partial(jax.lax.map, one), compiler_options=FAST)
    found = np.asarray(run(jnp.asarray(codes, jnp.int32)))
    for ((_, through, seen), _), (zen_score, nwot_score) in zip(
        rows, found, strict=False
    ):
        assert np.isfinite(zen_score) if through else np.isneginf(zen_score)
        assert np.isfinite(nwot_score) == (through or seen)
    assert found[-2, 0] == pytest.approx(found[-1, 0], rel=1e-6)
    reason = failures(-np.inf)[0]
    assert reason is not None and "no path leads from the images" in reason
