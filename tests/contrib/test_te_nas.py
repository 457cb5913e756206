from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas import ThinDarts, ThinNetwork
from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch, get_proxy
from nas_jax.pruning import SupernetSize, Target, get_strategy, prune
from nas_jax.scoring import scored_network
from nas_jax.spaces import SearchSpace, SpaceMask, darts_space, nasbench201_space

OPS = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
MASK = SpaceMask.full(darts_space(1, OPS))
NETWORK = ThinDarts(MASK.space, 3)
SHAPE = (8, 8, 3)
# Compilation is what takes time here, not the tiny programs.
FAST = {"xla_backend_optimization_level": 0}
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
BATCH = Batch(jnp.asarray(IMAGES), jnp.arange(6) % 3)


def batches(number: int, size: int) -> Batch:
    images = np.random.default_rng(number).normal(size=(size, 8, 8, 3))
    return Batch(jnp.asarray(images, jnp.float32), jnp.arange(size) % 3)


def test_rows_side_by_side_give_the_same_kernel() -> None:
    params = NETWORK.init(jax.random.key(0), SHAPE)
    live = SpaceMask.full(NETWORK.space).arrays()

    def score(params: Any, rows: int) -> jax.Array:
        network = scored_network(NETWORK, params, live, rows_at_once=rows)
        return get_proxy("ntk_eigen").score(network, BATCH, jax.random.key(0))

    both = [
        jax.jit(score, static_argnums=1, compiler_options=FAST)(params, rows)
        for rows in (16, 1)
    ]
    np.testing.assert_allclose(*both, rtol=1e-5)


def test_a_dead_operation_is_as_good_as_none() -> None:
    # The same parameters in a space without skips: their edges' weights are halves.
    small = darts_space(1, ("max_pool_3x3", "sep_conv_3x3"))
    params = NETWORK.init(jax.random.key(0), SHAPE)
    fewer = dict(params)
    fewer["reduce"] = {k: v for k, v in params["reduce"].items() if k != "skip_connect"}
    live = MASK.drop(
        (cell, edge, "skip_connect") for cell in ("normal", "reduce") for edge in (0, 1)
    )

    def scores(network: ThinDarts, params: Any, live: Any) -> jax.Array:
        scored = scored_network(network, params, live)
        layers = sum(jnp.sum(layer) for layer in jax.tree.leaves(scored.live))
        names = ("nwot", "nngp_mean", "params")
        key = jax.random.key(0)
        return jnp.stack(
            [layers, *(get_proxy(n).score(scored, BATCH, key) for n in names)]
        )

    run = jax.jit(scores, static_argnums=0, compiler_options=FAST)
    dead = run(NETWORK, params, live.arrays())
    absent = run(ThinDarts(small, 3), fewer, SpaceMask.full(small).arrays())
    np.testing.assert_allclose(dead, absent, rtol=1e-3)


@pytest.mark.parametrize("name", ["te_nas", "ete_nas"])
def test_thin_strategies_prune(name: str) -> None:
    strategy = get_strategy(name, MASK.space)
    strategy.repeats = 1
    result = prune(
        MASK,
        strategy,
        batches,
        key=jax.random.key(0),
        num_classes=3,
        target=Target(keep=1),
    )
    assert result.mask.num_kept == 4
    # Up to three operations of an edge go at once: one round.
    assert (result.rounds, result.candidates) == (1, 1 + 12)
    rows = [row for row in result.operations if row.round]
    assert len(rows) == 12
    assert all(np.isfinite(list(row.scores.values())).all() for row in rows)
    # Crops fall into fewer regions without some operations.
    regions = [row.scores[f"{name}_regions"] for row in rows]
    assert len(set(regions)) > 1 and max(regions) > 0


DARTS = SpaceMask.full(darts_space())


@pytest.mark.parametrize("name", ["te_nas", "ete_nas"])
def test_rounds(name: str) -> None:
    def rounds(mask: SpaceMask, target: Target) -> list[set[int]]:
        keep, rng = target.keeps(mask), np.random.default_rng(0)
        schedule = get_strategy(name, mask.space).schedule(mask, keep, rng)
        return [set(goal.values()) for goal in schedule]

    # Three a round (arXiv 2102.11535, prune_number); one in NAS-Bench-201.
    assert rounds(DARTS, Target(keep=1)) == [{5}, {2}, {1}]
    assert rounds(DARTS, Target(0.5)) == [{5}, {4}]
    bench = SpaceMask.full(nasbench201_space())
    assert rounds(bench, Target(keep=2)) == [{4}, {3}, {2}]


@pytest.mark.parametrize("name", ["te_nas", "ete_nas"])
def test_networks_have_the_size_that_is_given(name: str) -> None:
    def builds(space: SearchSpace, **options: int) -> set[object]:
        return {r.build for r in get_strategy(name, space, options).rankers}

    init: Any = "default" if name == "te_nas" else "kaiming_normal_fan_out"
    for channels in (0, 4):
        thin = {ThinNetwork(channels or 1, stem, init) for stem in (True, False)}
        assert builds(DARTS.space, channels=channels) == thin
    assert builds(DARTS.space, layers=2) == builds(DARTS.space)
    with pytest.raises(ConfigError, match="prune.layers is 8, .* 2 cells.* give 0"):
        builds(DARTS.space, layers=8)
    bench = nasbench201_space()
    assert builds(bench) == {SupernetSize(3, 1), SupernetSize(1, 1)}
    assert builds(bench, channels=4, layers=2) == {SupernetSize(4, 2)}


def test_ete_nas_ranks_by_what_is_asked_for() -> None:
    options = {"proxies": ("zen", "nngp_lga", "linear_regions")}
    rankers = get_strategy("ete_nas", DARTS.space, options).rankers
    assert [r.name for r in rankers] == ["zen", "nngp_lga", "ete_nas_regions"]
    assert [r.norm for r in rankers] == ["running", None, "running"]
    assert [r.sign for r in rankers] == [1.0, -1.0, 1.0]
    with pytest.raises(ConfigError, match="not rank by 'snip'; allowed: linear"):
        get_strategy("ete_nas", DARTS.space, {"proxies": ("snip",)})


def test_ete_nas_as_published_divides_by_the_sign_too() -> None:
    scores = np.ones((1, 2, 4))
    scores[0, :, 0] = [-4.0, -6.0]  # negative: without the operation it is lower
    operation = [("normal", 0, "sep_conv_3x3")]
    rng = np.random.default_rng(0)
    ours, published = (
        get_strategy("ete_nas", DARTS.space, {"defects": defects})
        for defects in (False, True)
    )
    for strategy, total in ((ours, 0.5), (published, -0.5)):
        found = strategy.importance(DARTS, operation, lambda *a, **k: scores, rng)
        assert found.total[0] == total
    # nwot is the last: running statistics for all, and one batch of two for kernels.
    assert {r.norm for r in published.rankers} == {"running"}
    assert [r.batch_size for r in published.rankers] == [14, 14, 256, 150]
    options = {"proxies": ("nwot", "nngp_mean"), "defects": True}
    kernel_last = get_strategy("ete_nas", DARTS.space, options).rankers
    assert [(r.norm, r.batch_size) for r in kernel_last] == [(None, 150), (None, 28)]
