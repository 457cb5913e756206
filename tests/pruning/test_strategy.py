"""The registry of strategies, what every one of them promises, and one's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import (
    STRATEGIES,
    Option,
    Ranker,
    Strategy,
    SupernetSize,
    Target,
    equal_rounds,
    get_strategy,
    prune,
    register_strategy,
    zero_cost_pt,
    zero_one_shot,
)
from nas_jax.pruning.candidates import removable
from nas_jax.pruning.importance import Importance
from nas_jax.spaces import NONE, SpaceMask, darts_space, nasbench201_space
from tests.pruning.handmade import a_batch

DARTS = SpaceMask.full(darts_space())
# As pruning starts: `none` is gone, and 7 operations are left on an edge.
SEVEN = DARTS.drop((c, e, o) for c, e, o in DARTS.space.operations() if o == NONE)
SIZE = SupernetSize(2, 2)


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
    goals = strategy.schedule(
        SEVEN, Target(keep=keep).keeps(DARTS), np.random.default_rng(0)
    )
    assert [sorted(set(goal.values())) for goal in goals] == expected


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
def test_every_strategy_keeps_its_promises(name: str, space: Any) -> None:
    mask = SpaceMask.full(space)
    strategy = get_strategy(name, space)
    entry = STRATEGIES[name]
    assert strategy.name == name and strategy.repeats >= 1
    assert entry.title and entry.meaning.startswith("A score is")
    assert all(option.meaning for option in entry.options)
    keep = Target(keep=2).keeps(mask)
    rng = np.random.default_rng(0)
    schedule = strategy.schedule(mask, keep, rng)
    left = {edge: len(mask.edge(*edge)) for edge in keep}
    for goal in schedule:
        left |= goal
    assert left == keep
    scored = []

    def score(live: Any, *, whole_first: bool = False) -> np.ndarray:
        scored.append(len(next(iter(live.values()))))
        size = (strategy.repeats, scored[-1], len(strategy.rankers))
        return 1 + rng.uniform(size=size)

    for goal in schedule[:2]:
        operations = removable(mask, goal)
        importance = strategy.importance(mask, operations, score, rng)
        assert importance.total.shape == (len(operations),)
        # What is known beforehand: progress and the size of chunks rest on it.
        assert strategy.count(len(operations)) == (scored.pop() if scored else 0)


def test_options_reach_the_rankers() -> None:
    options = {
        "proxies": ("snip", "nwot"),
        "channels": 3,
        "layers": 5,
        "batch_size": 7,
        "repeats": 2,
        "samples": 0,
    }
    strategy = get_strategy("zero_one_shot", DARTS.space, options)
    assert [r.proxy for r in strategy.rankers] == ["snip", "nwot"]
    assert {r.build for r in strategy.rankers} == {SupernetSize(3, 5)}
    assert {r.batch_size for r in strategy.rankers} == {7}
    assert strategy.repeats == 2
    usual = get_strategy("zero_one_shot", DARTS.space)
    assert usual.rankers[0].build == SupernetSize(16, 8)
    bench = get_strategy("zero_one_shot", nasbench201_space())
    assert bench.rankers[0].build == SupernetSize(16, 5)
    # What scoring costs says nothing to the control, and may stay in a config.
    assert get_strategy("random", DARTS.space, {"batch_size": 7}).rankers == ()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("darts", {}, "unknown pruning strategy 'darts'; allowed: .*zero_one_shot"),
        ("zero_one_shot", {"proxies": ("snap",)}, "unknown proxy 'snap'"),
        ("te_nas", {"rounds": 2}, "'te_nas' has no rounds .2 given.; .* zero_one_"),
        ("random", {"samples": 5}, "'random' has no samples .* take sampled"),
        ("sampled", {"defects": True}, "has no defects .* take ete_nas"),
        ("sampled", {"colour": "red"}, "has no colour .'red' given.; leave it out$"),
    ],
)
def test_a_wrong_option_is_refused(name: str, options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        get_strategy(name, DARTS.space, options)


class Alphabetical:
    """A user's own strategy, with all that `Strategy` asks for and no more."""

    rankers: tuple[Ranker, ...] = ()
    repeats = 1

    def __init__(self, name: str, last: bool) -> None:
        self.name = name
        self.sign = 1.0 if last else -1.0

    def schedule(self, mask: SpaceMask, keep: Any, rng: Any) -> list[Any]:
        return equal_rounds(mask, keep, 1)

    def count(self, operations: int) -> int:
        return 0

    def importance(
        self, mask: SpaceMask, operations: Any, score: Any, rng: Any
    ) -> Importance:
        names = sorted({op for _, _, op in operations})
        total = self.sign * np.array([names.index(op) for _, _, op in operations])
        nothing = np.zeros((len(total), 0))
        return Importance(total, 0 * total, nothing, nothing)


@pytest.fixture
def own() -> Iterator[str]:
    def make(space: Any, last: bool = False) -> Strategy:
        return Alphabetical("alphabetical", last)

    register_strategy(
        "alphabetical", make, options=[Option("last", False, "whether z is best")]
    )
    yield "alphabetical"
    del STRATEGIES.registered["alphabetical"]


def test_a_strategy_of_ones_own(own: str) -> None:
    space = darts_space(1)
    for options, kept in (({}, "avg_pool_3x3"), ({"last": True}, "skip_connect")):
        result = prune(
            SpaceMask.full(space),
            get_strategy(own, space, options),
            a_batch,
            key=jax.random.key(0),
            num_classes=2,
            target=Target(keep=1),
        )
        assert result.strategy == own
        assert {ops for cell in result.mask.kept for ops in cell} == {(kept,)}
    with pytest.raises(ConfigError, match="'alphabetical' is registered already"):
        register_strategy(own, STRATEGIES[own].make)
