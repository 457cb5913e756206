from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import ConfigError
from nas_jax.pruning import Target
from nas_jax.pruning.candidates import removable
from nas_jax.pruning.selection import CLOSE_ENOUGH, lowest, shortest_that_fits
from nas_jax.spaces import SpaceMask, darts_space, get_mask, nasbench201_space

OPS = ("max_pool_3x3", "skip_connect", "sep_conv_3x3")
MASK = SpaceMask.full(darts_space(1, OPS))
EDGES = [(cell, edge) for cell in ("normal", "reduce") for edge in (0, 1)]


def goal(keep: int) -> dict[tuple[str, int], int]:
    return dict.fromkeys(EDGES, keep)


def test_edges_lose_their_operations_in_step() -> None:
    operations = removable(MASK, goal(1))
    total = np.array([0.1, 5, 9, 0.3, 0.2, 9, 7, 8, 9, 0.0, 0.05, 9])
    dropped = lowest(MASK, operations, total, goal(1))
    # The least of every edge, the least important first; then the second of each.
    assert [total[operations.index(op)] for op in dropped] == [
        *(0.0, 0.1, 0.2, 7.0),
        *(0.05, 0.3, 5.0, 8.0),
    ]


def test_the_unknown_stay_and_of_equal_ones_the_later_goes_first() -> None:
    operations = removable(MASK, {EDGES[0]: 1})
    dropped = lowest(MASK, operations, np.array([1.0, np.nan, 1.0]), goal(1))
    assert [op for *_, op in dropped] == ["sep_conv_3x3", "max_pool_3x3"]


def test_a_node_keeps_its_floor_of_convolutions() -> None:
    operations = removable(MASK, goal(1))
    # Convolutions are the least important, those of edge 0 even less.
    worth = {"max_pool_3x3": 3.0, "skip_connect": 2.0, "sep_conv_3x3": 0.0}
    total = np.array([worth[op] + 0.1 * edge for _, edge, op in operations])
    free = MASK.drop(lowest(MASK, operations, total, goal(1)))
    assert all(ops == ("max_pool_3x3",) for cell in free.kept for ops in cell)
    floor = MASK.drop(lowest(MASK, operations, total, goal(1), min_parametric=1))
    # One of the node's two convolutions went, the other edge gave up its pools.
    assert all(c == (("max_pool_3x3",), ("sep_conv_3x3",)) for c in floor.kept)
    both = MASK.drop(lowest(MASK, operations, total, goal(1), min_parametric=2))
    assert all(c == (("sep_conv_3x3",), ("sep_conv_3x3",)) for c in both.kept)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(0, 3000),
)
def test_the_shortest_that_fits(sizes: list[int], budget: int) -> None:
    def needs(count: int) -> int:
        calls.append(count)
        return sum(sizes[count:])

    calls: list[int] = []
    count = shortest_that_fits(len(sizes), needs, budget)
    fewest = next(n for n in range(len(sizes) + 1) if needs(n) <= budget)
    assert sum(sizes[count:]) <= budget
    assert count == fewest or sum(sizes[count:]) >= CLOSE_ENOUGH * budget
    assert count >= fewest


def test_few_measurements_of_a_line() -> None:
    calls: list[int] = []

    def needs(count: int) -> int:
        calls.append(count)
        return 6000 - 25 * count

    assert needs(shortest_that_fits(168, needs, 3000)) <= 3000
    # Both ends, and a guess.
    assert len(calls) - 1 <= 4


def test_nothing_fits() -> None:
    assert shortest_that_fits(5, lambda count: 100, 10) == 5


@pytest.mark.parametrize(
    ("target", "of_five", "of_three"),
    [
        (Target(0.5), 2, 1),
        (Target(0.25), 3, 2),
        (Target(0.0), 5, 3),
        (Target(0.99), 1, 1),
        (Target(keep=3), 3, 3),
        (Target(keep=4), 4, 3),
        (Target(keep=9), 5, 3),
        (Target(budget_bytes=1, step_bytes=lambda mask: 1), 1, 1),
    ],
)
def test_what_edges_keep_of_what_they_have(
    target: Target, of_five: int, of_three: int
) -> None:
    mask = SpaceMask.full(nasbench201_space())
    assert set(target.keeps(mask).values()) == {of_five}
    fewer = mask.drop([("cell", 0, op) for op in ("none", "skip_connect")])
    keeps = target.keeps(fewer)
    assert keeps["cell", 0] == of_three
    assert {keeps["cell", edge] for edge in range(1, 6)} == {of_five}


# What docs/pruning.md says, of 28 edges or of 6.
@pytest.mark.parametrize(
    ("space", "there", "kept"),
    [
        ("darts", 224, {0.25: 168, 0.5: 112, 0.75: 56}),
        ("s1", 56, {0.25: 28, 0.5: 28, 0.75: 28}),
        ("s2", 56, {0.25: 28, 0.5: 28, 0.75: 28}),
        ("s3", 84, {0.25: 56, 0.5: 28, 0.75: 28}),
        ("s4", 56, {0.25: 28, 0.5: 28, 0.75: 28}),
        ("nasbench201", 30, {0.25: 18, 0.5: 12, 0.75: 6}),
    ],
)
def test_what_levels_leave_of_every_space(
    space: str, there: int, kept: dict[float, int]
) -> None:
    mask = get_mask(space)
    assert mask.num_kept == there
    assert {n: sum(Target(n).keeps(mask).values()) for n in kept} == kept


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(1.0), "level 1.0 must be"),
        (Target(keep=0), "cannot keep 0 operations; 1 or more"),
        (Target(budget_bytes=5), "needs step_bytes"),
        (Target(step_bytes=lambda mask: 1), "needs step_bytes"),
    ],
)
def test_a_bad_target_is_refused(target: Target, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        target.keeps(MASK)
