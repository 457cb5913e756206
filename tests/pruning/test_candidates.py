from __future__ import annotations

import numpy as np
import pytest

from nas_jax.errors import MaskError
from nas_jax.pruning import leave_one_out
from nas_jax.pruning.candidates import members, random_paths, removable
from nas_jax.spaces import SpaceMask, darts_space

FULL = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
KEEP_ONE = {(cell, edge): 1 for cell in ("normal", "reduce") for edge in (0, 1)}


def test_leave_one_out_removes_exactly_one() -> None:
    mask = FULL.drop([("normal", 1, "skip_connect")])
    operations = [op for op in removable(mask, KEEP_ONE) if op[0] == "normal"]
    # Three operations on edge 0 and two that are left on edge 1.
    assert len(operations) == 5
    live = leave_one_out(mask, operations)
    arrays = mask.arrays()
    for name, array in live.items():
        assert array.shape == (6, *arrays[name].shape)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array[0], arrays[name])
    for index, (cell, edge, op) in enumerate(operations, start=1):
        gone = {
            (name, *place)
            for name, array in live.items()
            for place in np.argwhere(array[index] != arrays[name]).tolist()
        }
        assert gone == {(cell, edge, FULL.space.cell(cell).ops.index(op))}
        assert live[cell][index, edge].sum() == arrays[cell][edge].sum() - 1


def test_the_last_operation_of_an_edge_is_no_candidate() -> None:
    mask = FULL.drop([("reduce", 0, "none"), ("reduce", 0, "skip_connect")])
    edges = {(cell, edge) for cell, edge, _ in removable(mask, KEEP_ONE)}
    assert edges == {("normal", 0), ("normal", 1), ("reduce", 1)}
    assert len(removable(mask, KEEP_ONE)) == 9


def test_edges_that_keep_what_they_have_offer_no_candidates() -> None:
    assert removable(FULL, {("normal", 0): 3}) == []
    assert removable(FULL, {("normal", 1): 2}) == [
        ("normal", 1, op) for op in ("none", "skip_connect", "sep_conv_3x3")
    ]


def test_random_paths_have_one_kept_operation_on_every_edge() -> None:
    mask = FULL.drop([("normal", 0, "none"), ("reduce", 1, "skip_connect")])
    live = random_paths(mask, 9, np.random.default_rng(0))
    for name, kept in mask.arrays().items():
        assert live[name].shape == (9, 2, 3) and live[name].dtype == np.float32
        np.testing.assert_array_equal(live[name].sum(-1), 1)
        assert not live[name][:, ~kept].any()
        # Three operations in 9 draws are drawn 3 times each; two are 4 and 5 times.
        for edge, row in enumerate(kept):
            counts = sorted(live[name][:, edge].sum(0)[row])
            assert counts == ([4, 5] if row.sum() == 2 else [3, 3, 3])
    again = random_paths(mask, 9, np.random.default_rng(0))
    np.testing.assert_array_equal(again["normal"], live["normal"])
    # Edges are drawn independently of each other.
    assert len({path.tobytes() for path in live["reduce"]}) > 3


def test_members_are_columns_of_the_live_arrays() -> None:
    operations = [("normal", 1, "sep_conv_3x3"), ("reduce", 0, "none")]
    live = leave_one_out(FULL, operations)
    np.testing.assert_array_equal(
        members(live, FULL, operations), [[1, 1], [0, 1], [1, 0]]
    )


@pytest.mark.parametrize(
    "operation",
    [("normal", 1, "skip_connect"), ("normal", -1, "none"), ("reduce", 2, "none")],
)
def test_what_is_not_there_cannot_be_left_out(operation: tuple[str, int, str]) -> None:
    # The candidate would be the whole network, and the operation of no importance.
    mask = FULL.drop([("normal", 1, "skip_connect")])
    with pytest.raises(
        MaskError, match=f"'{operation[2]}' on edge {operation[1]} of '"
    ):
        leave_one_out(mask, [("normal", 0, "none"), operation])
