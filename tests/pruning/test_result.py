"""What pruning says of edges that lost nothing."""

from __future__ import annotations

import pytest

from nas_jax.pruning import Target
from nas_jax.pruning.result import NOTHING_PRUNED, warnings_of_loss
from nas_jax.spaces import SpaceMask, get_mask

S2 = get_mask("s2")
DARTS = get_mask("darts")


def left(start: SpaceMask, keep: int, edges: int) -> SpaceMask:
    """The last operations of the first edges of the normal cell, and all others."""
    gone = [
        ("normal", edge, op)
        for edge in range(edges)
        for op in start.edge("normal", edge)[:-keep]
    ]
    return start.drop(gone)


def test_nothing_is_said_where_every_edge_lost_something() -> None:
    one = SpaceMask(S2.space, tuple(tuple(e[:1] for e in c) for c in S2.kept))
    assert warnings_of_loss(S2, one, Target(0.5)) == []
    # Nor where nothing was to go.
    assert warnings_of_loss(S2, S2, Target(0.0)) == []


def test_edges_that_have_one_operation_are_counted() -> None:
    start = left(S2, 1, 3)
    end = SpaceMask(S2.space, tuple(tuple(e[:1] for e in c) for c in start.kept))
    said = "3 of 28 edges lost nothing, with one operation each"
    assert warnings_of_loss(start, end, Target(0.5)) == [said]
    budget = Target(budget_bytes=1, step_bytes=lambda mask: 1)
    assert warnings_of_loss(start, end, budget) == [said]


def test_edges_that_have_no_more_than_they_keep_are_counted() -> None:
    start = left(DARTS, 2, 1)
    kept = tuple(tuple(ops[-2:] for ops in cell) for cell in start.kept)
    assert warnings_of_loss(start, SpaceMask(DARTS.space, kept), Target(keep=2)) == [
        "1 of 28 edges lost nothing, with 2 operations or fewer each"
    ]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target(keep=4), "28 of 28 edges lost nothing, with 2 operations or fewer"),
        (
            Target(0.5, min_parametric=9),
            "28 of 28 edges lost nothing, to leave each node 9 convolutions",
        ),
        (
            Target(budget_bytes=1, step_bytes=lambda mask: 1),
            "the search step fits the budget with all of them",
        ),
    ],
)
def test_that_nothing_was_pruned_is_one_warning(target: Target, why: str) -> None:
    (said,) = warnings_of_loss(S2, S2, target)
    assert said.startswith(f"{NOTHING_PRUNED}, all 56 operations stay: {why}")
