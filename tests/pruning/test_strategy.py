from __future__ import annotations

import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import (
    STRATEGIES,
    Options,
    Strategy,
    SupernetSize,
    Target,
    get_strategy,
    zero_cost_pt,
    zero_one_shot,
)
from nas_jax.pruning.importance import sum_of_changes
from nas_jax.spaces import NONE, SpaceMask, darts_space, nasbench201_space

DARTS = SpaceMask.full(darts_space())
# As pruning starts: `none` is gone, and 7 operations are left on an edge.
SEVEN = DARTS.drop((c, e, o) for c, e, o in DARTS.space.operations() if o == NONE)
SIZE = SupernetSize(2, 2)


def rounds_of(strategy: Strategy, target: Target) -> list[list[int]]:
    """What edges keep after each round, each number once."""
    schedule = strategy.schedule(SEVEN, target.keeps(SEVEN), np.random.default_rng(0))
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


def test_rounds_of_te_nas() -> None:
    # Three a round: 7, 4, 1 of the DARTS space (arXiv 2102.11535, prune_number).
    strategy = Strategy("s", (), sum_of_changes, repeats=1, step=3)
    assert rounds_of(strategy, Target(keep=1)) == [[4], [1]]
    assert rounds_of(strategy, Target(0.5)) == [[4]]
    assert rounds_of(strategy, Target(keep=2)) == [[4], [2]]


def test_zero_cost_pt_decides_edge_by_edge_in_a_random_order() -> None:
    strategy = zero_cost_pt(SIZE)
    keep = Target(0.5).keeps(SEVEN)
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


def test_thin_strategies_score_the_supernet_where_a_size_is_given() -> None:
    for name in ("te_nas", "ete_nas"):
        thin = get_strategy(name, DARTS.space)
        assert not any(isinstance(r.build, SupernetSize) for r in thin.rankers)
        given = get_strategy(name, DARTS.space, Options(channels=4, layers=3))
        assert {r.build for r in given.rankers} == {SupernetSize(4, 3)}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "darts",
            Options(),
            "unknown pruning strategy 'darts'; allowed: zero_one_shot",
        ),
        ("zero_one_shot", Options(proxies=("snap",)), "unknown proxy 'snap'"),
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
    last = published.rankers[-1]
    assert {(r.batch_size, r.norm) for r in published.rankers} == {
        (last.batch_size, last.norm)
    }
