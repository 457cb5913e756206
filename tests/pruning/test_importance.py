from __future__ import annotations

import numpy as np

from nas_jax.pruning import leave_one_out, relative_importance
from nas_jax.pruning.importance import candidate_operations
from nas_jax.spaces import SpaceMask, darts_space

FULL = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))


def test_relative_importance_by_hand() -> None:
    # First ranker: (10 - 5) / 10 and (10 - 12) / 10. The second is negative; without
    # the first operation it falls by 2, which makes that operation important:
    # (-4 - -6) / |-4| = 0.5, and (-4 - -3) / 4 = -0.25.
    importance = relative_importance(
        np.array([10.0, -4.0]), np.array([[5.0, -6.0], [12.0, -3.0]])
    )
    np.testing.assert_allclose(importance, [[0.5, 0.5], [-0.2, -0.25]])


def test_relative_importance_of_float32_is_computed_in_float64() -> None:
    whole, without = np.float32([3.0]), np.float32([[1.0]])
    importance = relative_importance(whole, without)
    assert importance.dtype == np.float64
    assert importance[0, 0] == 2 / 3


def test_what_is_not_finite_becomes_nan() -> None:
    nan, inf = np.nan, np.inf
    whole = np.array([nan, inf, 0.0, 2.0, 2.0, 2.0])
    importance = relative_importance(whole, np.array([[1.0, 1.0, 1.0, nan, inf, 1.0]]))
    np.testing.assert_array_equal(importance, [[nan, nan, nan, nan, nan, 0.5]])


def test_leave_one_out_removes_exactly_one() -> None:
    mask = FULL.drop([("normal", 1, "skip_connect")])
    operations = [op for op in candidate_operations(mask) if op[0] == "normal"]
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
    edges = {(cell, edge) for cell, edge, _ in candidate_operations(mask)}
    assert edges == {("normal", 0), ("normal", 1), ("reduce", 1)}
    assert len(candidate_operations(mask)) == 9
