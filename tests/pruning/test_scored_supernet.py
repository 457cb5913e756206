from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.networks.backbone import places
from nas_jax.networks.edges import from_edges, to_edges
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy
from nas_jax.pruning import scored_supernet
from nas_jax.scoring.families import Darts
from nas_jax.spaces import CellGenotype, Genotype, SpaceMask, darts_space
from tests.networks.told import assert_same_arrays, repeated

MASK = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
BATCH = Batch(jnp.asarray(IMAGES), jnp.array([0, 1, 0, 1]))
DEAD = MASK.drop([("reduce", 0, "sep_conv_3x3")])
POOLED = SpaceMask.full(darts_space(2, ("none", "max_pool_3x3", "avg_pool_3x3")))
FAST = {"xla_backend_optimization_level": 0}
# Pools are left out: a supernet normalises them, a discrete network does not.
MIXED = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
GENES = {
    "normal": (
        *(("dil_conv_5x5", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("skip_connect", 2)),
    ),
    "reduce": (
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("dil_conv_5x5", 1), ("skip_connect", 2)),
    ),
}


@pytest.fixture(scope="module")
def candidate() -> ScoredNetwork:
    """A supernet without one of its separable convolutions."""
    network = Supernet(MASK, 4, 1, 3)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    shapes = abstract_variables(network, images, zero_alphas(MASK.space))
    params = init_variables(jax.random.key(0), shapes)["params"]
    live = DEAD.arrays()
    return scored_supernet(network, params, live)


def discrete() -> tuple[ScoredNetwork, ScoredNetwork]:
    """A supernet with one operation alive on an edge, and the same discrete network."""
    cells = tuple(CellGenotype(c.name, GENES[c.name], c.output) for c in MIXED.cells)
    family = Darts(2, 2, 3, MIXED)
    params = family.init(jax.random.key(1), (8, 8, 1))
    codes = {k: v[0] for k, v in family.encode([Genotype(MIXED, cells)]).items()}
    alone = family.scored(params, jax.tree.map(jnp.asarray, codes))
    network = Supernet(SpaceMask.full(MIXED), 2, 2, 3)
    shapes = abstract_variables(network, BATCH.images, zero_alphas(MIXED))["params"]
    edges = to_edges(
        network, init_variables(jax.random.key(2), {"params": shapes})["params"]
    )
    live = {}
    for spec in MIXED.cells:
        live[spec.name] = np.zeros((len(spec.edges), len(spec.ops)))
        live[spec.name][:, spec.ops.index("none")] = 1
        for g, (op, source) in enumerate(GENES[spec.name]):
            edge = spec.edges.index((source, spec.gene_nodes[g]))
            live[spec.name][edge] = [o == op for o in spec.ops]
            for index, place in enumerate(places(2, 2)):
                own = edges[f"cell_{index}"].get(f"edge_{edge}", {}).get(op, {})
                if place.name == spec.name:
                    for name in own:
                        own[name] = params[f"cell_{index}"][f"{op}_{name}"][g]
    for name, leaves in params.items():
        if name in ("stem", "classifier"):
            edges[name] = leaves
        else:
            for part in ("preprocess_0", "preprocess_1"):
                edges[name][part] = {k: v[0] for k, v in leaves[part].items()}
    stacked = from_edges(network, shapes, edges)
    return scored_supernet(network, stacked, live), alone


def test_a_supernet_of_one_architecture_tells_what_its_network_tells() -> None:
    def told(network: ScoredNetwork) -> tuple[Any, Any]:
        score = get_proxy("fisher").score(network, BATCH, jax.random.key(0))
        return score, network.observed(BATCH)

    networks = discrete()
    run = jax.jit(
        lambda: [told(network) for network in networks], compiler_options=FAST
    )
    (mixed, seen), (alone, expected) = run()
    np.testing.assert_allclose(seen.logits, expected.logits, rtol=1e-3, atol=1e-4)
    assert float(mixed) == pytest.approx(float(alone), rel=1e-3)
    for name in ("variances", "relu_inputs"):
        rows = [repeated(getattr(told, name)) for told in (seen, expected)]
        assert_same_arrays(*rows)


@pytest.mark.parametrize("remat", ["none", "op", "wave", "cell"])
def test_dead_equals_not_built(candidate: ScoredNetwork, remat: Any) -> None:
    """The channels of a dead operation do not count, whatever is computed again."""
    smaller = Supernet(DEAD, 4, 1, 3)
    shapes = abstract_variables(smaller, BATCH.images, zero_alphas(MASK.space))
    full = Supernet(MASK, 4, 1, 3, remat=remat)
    params = from_edges(smaller, shapes["params"], to_edges(full, candidate.params))
    networks = (
        scored_supernet(full, candidate.params, DEAD.arrays()),
        scored_supernet(smaller, params, DEAD.arrays()),
    )
    run = jax.jit(
        lambda: [
            get_proxy("fisher").score(network, BATCH, jax.random.key(0))
            for network in networks
        ],
        compiler_options=FAST,
    )
    dead, built = run()
    assert float(dead) > 0
    assert float(dead) == pytest.approx(float(built), rel=1e-4)


def test_every_pool_counts_its_normalisation() -> None:
    """Two edges that read a state pool it once, and normalise it twice."""
    network = Supernet(POOLED, 2, 2, 3)
    shapes = abstract_variables(network, BATCH.images, zero_alphas(POOLED.space))
    params = init_variables(jax.random.key(0), shapes)["params"]
    live = POOLED.drop([("normal", 0, "max_pool_3x3")]).arrays()
    run = jax.jit(
        lambda: scored_supernet(network, params, live).observed(BATCH),
        compiler_options=FAST,
    )
    seen = run()
    assert seen.variances is not None
    # A stem, two preprocessings of either cell, and 9 and 10 pools.
    counts = np.concatenate([counts for _, counts in seen.variances])
    assert counts.sum() == 1 + 4 + 9 + 10
    # Both nodes pool each input, but the first node not the one that is dropped.
    assert sorted(counts) == [1] * 10 + [2] * 7


def test_zen_of_a_candidate(candidate: ScoredNetwork) -> None:
    run = jax.jit(
        lambda: get_proxy("zen").score(candidate, BATCH, jax.random.key(0)),
        compiler_options=FAST,
    )
    assert np.isfinite(run())


@pytest.mark.parametrize("norm", ["batch", "identity"])
def test_what_a_supernet_tells(candidate: ScoredNetwork, norm: Any) -> None:
    assert candidate.observe is not None
    seen = candidate.observe(candidate.params, BATCH.images, norm=norm)
    logits = candidate.logits(candidate.params, BATCH.images, norm=norm)
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-5)
    assert seen.feature_map is not None and seen.feature_map.shape == (4, 4, 4, 8)
    assert seen.features is not None
    np.testing.assert_allclose(seen.features, seen.feature_map.mean((1, 2)), rtol=1e-5)
    classifier = candidate.params["classifier"]
    read = seen.features @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(read, seen.logits, rtol=1e-5)
    assert seen.relu_inputs is not None
    # Two of the preprocessing, two of the separable convolution that is left, and one
    # of each of the two skips that halve the image.
    counts = [float(counts.sum()) for _, counts in seen.relu_inputs]
    assert sum(counts) == 2 + 2 + 2
    # As many, and the stem's.
    assert seen.variances is not None
    assert sum(float(n.sum()) for _, n in seen.variances) == 1 + 2 + 2 + 2
    # Depthwise and 1x1 are layers of their own; stem and classifier are two more.
    assert seen.channels is not None
    assert sum(float(gate.live.sum()) for gate in seen.channels) == 2 + 2 + 4 + 2


def test_macs_and_operations_of_a_candidate(candidate: ScoredNetwork) -> None:
    # 8x8 images of one channel, a stem of 12 channels, and one reduction cell of 8:
    # two 1x1 preprocessings at 8x8, then at 4x4 two halving skips (two 1x1 of 8 to 4
    # each) and the one separable convolution left, twice 3x3 and 1x1.
    stem = 8 * 8 * 9 * 1 * 12
    preprocess = 2 * 8 * 8 * 12 * 8
    skips = 2 * 4 * 4 * 2 * 8 * 4
    separable = 4 * 4 * 2 * (9 * 8 + 8 * 8)
    score = get_proxy("flops").score(candidate, BATCH, jax.random.key(0))
    assert score == stem + preprocess + skips + separable + 8 * 3
    # Each cell of the space counts once, a normal one too.
    assert get_proxy("sep_convs").score(candidate, BATCH, jax.random.key(0)) == 3
    assert candidate.operations is not None
    assert candidate.operations["skip_connect"] == 4
