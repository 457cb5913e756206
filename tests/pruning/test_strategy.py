from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import (
    STRATEGIES,
    Options,
    Strategy,
    SupernetSize,
    Target,
    ThinNetwork,
    get_strategy,
    zero_cost_pt,
    zero_one_shot,
)
from nas_jax.spaces import NONE, SearchSpace, SpaceMask, darts_space, nasbench201_space

DARTS = SpaceMask.full(darts_space())
# As pruning starts: `none` is gone, and 7 operations are left on an edge.
SEVEN = DARTS.drop((c, e, o) for c, e, o in DARTS.space.operations() if o == NONE)
SIZE = SupernetSize(2, 2)


def rounds_of(strategy: Strategy, target: Target) -> list[list[int]]:
    """What edges keep after each round, each number once."""
    schedule = strategy.schedule(SEVEN, target.keeps(DARTS), np.random.default_rng(0))
    return [sorted(set(goal.values())) for goal in schedule]


@pytest.mark.parametrize(
    ("rounds", "keep", "expected"),
    [
        (1, 4, [[4]]),
        (2, 4, [[5], [4]]),
        (3, 1, [[5], [3], [1]]),
        # No more rounds than operations to remove, and none without any.
        (9, 4, [[6], [5], [4]]),
        (3, 7, []),
    ],
)
def test_rounds_of_leave_one_out(
    rounds: int, keep: int, expected: list[list[int]]
) -> None:
    strategy = zero_one_shot(SIZE, rounds=rounds)
    assert rounds_of(strategy, Target(keep=keep)) == expected


@pytest.mark.parametrize("name", ["te_nas", "ete_nas"])
def test_rounds_of_thin_strategies(name: str) -> None:
    # Three a round: 7, 4, 1 of the DARTS space (arXiv 2102.11535, prune_number).
    strategy = get_strategy(name, DARTS.space)
    assert rounds_of(strategy, Target(keep=1)) == [[4], [1]]
    assert rounds_of(strategy, Target(0.5)) == [[4]]
    assert rounds_of(strategy, Target(keep=2)) == [[4], [2]]
    # One a round in NAS-Bench-201.
    bench = SpaceMask.full(nasbench201_space())
    schedule = get_strategy(name, bench.space).schedule(
        bench, Target(keep=2).keeps(bench), np.random.default_rng(0)
    )
    assert [set(goal.values()) for goal in schedule] == [{4}, {3}, {2}]


def test_zero_cost_pt_decides_edge_by_edge_in_a_random_order() -> None:
    strategy = zero_cost_pt(SIZE)
    keep = Target(0.5).keeps(DARTS)
    first, again, other = (
        strategy.schedule(SEVEN, keep, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert all(len(goal) == 1 for goal in first)
    assert sorted(edge for goal in first for edge in goal) == sorted(keep)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("space", [DARTS.space, nasbench201_space()])
def test_every_strategy_counts_what_it_scores(name: str, space: object) -> None:
    mask = SpaceMask.full(space)  # type: ignore[arg-type]
    strategy = get_strategy(name, mask.space)
    assert strategy.name == name
    assert strategy.repeats >= 1
    keep = Target(keep=2).keeps(mask)
    rng = np.random.default_rng(0)
    for goal in strategy.schedule(mask, keep, rng)[:2]:
        operations = strategy.operations(mask, goal)
        candidates = strategy.candidates(mask, operations, rng)
        count = strategy.count(len(operations))
        if strategy.rankers:
            assert len(next(iter(candidates.values()))) == count
        else:
            assert count == 0


def test_options_reach_the_rankers() -> None:
    options = Options(
        proxies=("snip", "nwot"), channels=3, layers=5, batch_size=7, repeats=2
    )
    strategy = get_strategy("zero_one_shot", DARTS.space, options)
    assert [r.proxy for r in strategy.rankers] == ["snip", "nwot"]
    assert {r.build for r in strategy.rankers} == {SupernetSize(3, 5)}
    assert {r.batch_size for r in strategy.rankers} == {7}
    assert strategy.repeats == 2
    usual = get_strategy("zero_one_shot", DARTS.space)
    assert usual.rankers[0].build == SupernetSize(16, 8)
    bench = get_strategy("zero_one_shot", nasbench201_space())
    assert bench.rankers[0].build == SupernetSize(16, 5)


@pytest.mark.parametrize("name", ["te_nas", "ete_nas"])
def test_thin_networks_have_the_size_that_is_given(name: str) -> None:
    def builds(space: SearchSpace, options: Options) -> set[object]:
        return {r.build for r in get_strategy(name, space, options).rankers}

    init: Any = "default" if name == "te_nas" else "kaiming_normal_fan_out"
    for channels in (0, 4):
        thin = {ThinNetwork(channels or 1, stem, init) for stem in (True, False)}
        assert builds(DARTS.space, Options(channels=channels)) == thin
    assert builds(DARTS.space, Options(layers=2)) == builds(DARTS.space, Options())
    bench = nasbench201_space()
    assert builds(bench, Options()) == {SupernetSize(3, 1), SupernetSize(1, 1)}
    assert builds(bench, Options(channels=4, layers=2)) == {SupernetSize(4, 2)}


def test_ete_nas_ranks_by_what_is_asked_for() -> None:
    options = Options(proxies=("zen", "nngp_lga", "linear_regions"))
    rankers = get_strategy("ete_nas", DARTS.space, options).rankers
    assert [r.name for r in rankers] == ["zen", "nngp_lga", "ete_nas_regions"]
    assert [r.norm for r in rankers] == ["running", None, "running"]
    assert [r.sign for r in rankers] == [1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "darts",
            Options(),
            "unknown pruning strategy 'darts'; allowed: zero_one_shot",
        ),
        ("zero_one_shot", Options(proxies=("snap",)), "unknown proxy 'snap'"),
        ("te_nas", Options(layers=8), "prune.layers is 8, .* have 2 cells.* give 0"),
        ("ete_nas", Options(proxies=("snip",)), "not rank by 'snip'; allowed: linear"),
        ("te_nas", Options(rounds=2), "'te_nas' has no rounds .2 given.; .* zero_one_"),
        ("random", Options(samples=5), "'random' has no samples .* take sampled"),
        ("sampled", Options(defects=True), "has no defects .* take ete_nas"),
    ],
)
def test_a_wrong_option_is_refused(name: str, options: Options, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        get_strategy(name, DARTS.space, options)


def test_ete_nas_as_published_divides_by_the_sign_too() -> None:
    scores = np.zeros((1, 2, 4))
    scores[0, :, 0] = [-4.0, -6.0]  # negative: without the operation it is lower
    scores[0, :, 1:] = 1.0
    rng = np.random.default_rng(0)
    ours, published = (
        get_strategy("ete_nas", DARTS.space, Options(defects=defects))
        for defects in (False, True)
    )
    assert ours.importance(scores, np.ones((2, 1)), rng).total[0] == 0.5
    assert published.importance(scores, np.ones((2, 1)), rng).total[0] == -0.5
    # nwot is the last: running statistics for all, and one batch of two for kernels.
    assert {r.norm for r in published.rankers} == {"running"}
    assert [r.batch_size for r in published.rankers] == [14, 14, 256, 150]
    options = Options(proxies=("nwot", "nngp_mean"), defects=True)
    kernel_last = get_strategy("ete_nas", DARTS.space, options).rankers
    assert [(r.norm, r.batch_size) for r in kernel_last] == [(None, 150), (None, 28)]
