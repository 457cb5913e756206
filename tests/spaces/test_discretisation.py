from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import GenotypeError
from nas_jax.spaces import DARTS_OPS, SpaceMask, darts_space, discretise

SPACE = darts_space()
FULL = SpaceMask.full(SPACE)
SMALL = darts_space(2)
SMALL_FULL = SpaceMask.full(SMALL)


def small(rows: dict[int, dict[str, float]]) -> np.ndarray:
    """Weights of the 5 edges (0, 2)(1, 2)(0, 3)(1, 3)(2, 3).

    0.01 where not given, and the rest of 1 is for `none`.
    """
    weights = np.full((5, 8), 0.01)
    for edge, values in rows.items():
        for op, value in values.items():
            weights[edge, DARTS_OPS.index(op)] = value
    weights[:, 0] = 1 - weights[:, 1:].sum(axis=1)
    return weights


def kept_of(mask: SpaceMask, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The same weights for every cell, over what a mask keeps: each edge sums to 1."""
    kept = {name: weights * live for name, live in mask.arrays().items()}
    return {name: w / w.sum(axis=1, keepdims=True) for name, w in kept.items()}


def test_by_hand() -> None:
    normal = small(
        {
            0: {"sep_conv_3x3": 0.3, "skip_connect": 0.2},
            1: {"avg_pool_3x3": 0.05},
            # Node 3: strengths 0.4, 0.2 and 0.5, so edges 2 and 4, strongest first.
            2: {"max_pool_3x3": 0.4},
            3: {"dil_conv_3x3": 0.2},
            4: {"dil_conv_5x5": 0.5},
        }
    )
    reduce = small(
        {
            0: {"skip_connect": 0.2},
            1: {"sep_conv_5x5": 0.6},
            2: {"skip_connect": 0.1},
            3: {"max_pool_3x3": 0.3},
            4: {"avg_pool_3x3": 0.2},
        }
    )
    genotype = discretise(SMALL_FULL, {"normal": normal, "reduce": reduce})
    # As text: equal genotypes may be listed otherwise.
    assert str(genotype) == (
        "Genotype("
        "normal=[('sep_conv_3x3', 0), ('avg_pool_3x3', 1), "
        "('dil_conv_5x5', 2), ('max_pool_3x3', 0)], normal_concat=range(2, 4), "
        "reduce=[('sep_conv_5x5', 1), ('skip_connect', 0), "
        "('max_pool_3x3', 1), ('avg_pool_3x3', 2)], reduce_concat=range(2, 4))"
    )


def test_ties_go_to_the_lower_edge_and_the_earlier_operation() -> None:
    weights = np.full((14, 8), 0.125)
    genotype = discretise(FULL, {"normal": weights, "reduce": weights})
    for cell in genotype.cells:
        assert cell.genes == (("max_pool_3x3", 0), ("max_pool_3x3", 1)) * 4
    weights = np.zeros((14, 8))
    weights[:, [4, 6]] = 0.5
    genotype = discretise(FULL, {"normal": weights, "reduce": weights})
    assert genotype.cells[0].genes == (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)) * 4


def test_edges_that_keep_only_none_are_never_chosen() -> None:
    weights = np.full((14, 8), 0.01)
    weights[[2, 3]] = 0.1
    weights[:, 0] = 1 - weights[:, 1:].sum(axis=1)
    mask = FULL.drop([("reduce", 2, op) for op in DARTS_OPS[1:]])
    genotype = discretise(mask, kept_of(mask, weights))
    # Node 3 of the reduction cell loses edge (0, 3) and takes (1, 3), then (2, 3).
    assert [s for _, s in genotype.cells[0].genes[2:4]] == [0, 1]
    assert [s for _, s in genotype.cells[1].genes[2:4]] == [1, 2]


@given(st.integers(0, 2**32 - 1))
def test_against_the_rule_written_plainly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {name: rng.random((14, 8)) < 0.6 for name in ("normal", "reduce")}
    for array in arrays.values():
        array[:, rng.integers(1, 8)] = True
    mask = SpaceMask.from_arrays(SPACE, arrays)
    # Few distinct values, so that ties are common; the first kept operation, which is
    # `none` for most edges, has the rest of 1.
    weights = {name: a * rng.integers(0, 4, (14, 8)) / 32 for name, a in arrays.items()}
    for name, array in arrays.items():
        rest = 1 - weights[name].sum(axis=1)
        weights[name][np.arange(14), array.argmax(axis=1)] += rest
    genotype = discretise(mask, weights)
    for cell in genotype.cells:
        first = 0
        for node in range(2, 6):
            edges = []
            for source in range(node):
                row = weights[cell.name][first + source].copy()
                row[~arrays[cell.name][first + source]] = -1
                row[0] = -1
                edges.append((row.max(), source, DARTS_OPS[int(row.argmax())]))
            edges.sort(key=lambda edge: -edge[0])  # Stable: ties keep their order.
            genes = cell.genes[2 * (node - 2) : 2 * (node - 1)]
            assert genes == tuple((op, source) for _, source, op in edges[:2])
            first += node


def test_missing_cell_and_nan_are_refused() -> None:
    with pytest.raises(GenotypeError, match="probabilities of 'normal' hold NaN"):
        discretise(SMALL_FULL, {"normal": small({0: {"skip_connect": np.nan}})})
    with pytest.raises(GenotypeError, match=r"of cell 'reduce'; given: \['normal'\]"):
        discretise(SMALL_FULL, {"normal": small({})})


def test_wrong_shape_is_refused() -> None:
    weights = np.full((14, 8), 0.125)
    with pytest.raises(
        GenotypeError, match=r"'normal' have shape \(8, 14\); expected \(14, 8\)"
    ):
        discretise(FULL, {"normal": weights.T, "reduce": weights})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        # Alphas: those of a search, and those of a first step.
        (
            [-1.2, 0.3, 0, 2, 0, 0, 0, 0],
            "'none' on edge 3 of 'reduce' is -1.2; it must",
        ),
        (
            [1e-3, 2e-3, 0, 0, 0, 0, 0, 0],
            "edge 3 of 'reduce' have the sum 0.003; it mu",
        ),
        ([90, 10, 0, 0, 0, 0, 0, 0], "'none' on edge 3 of 'reduce' is 90; it must lie"),
    ],
)
def test_what_is_no_probability_is_refused(row: list[float], message: str) -> None:
    weights = np.full((14, 8), 0.125)
    wrong = weights.copy()
    wrong[3] = row
    with pytest.raises(GenotypeError, match=message) as error:
        discretise(FULL, {"normal": weights, "reduce": wrong})
    assert "give softmax(alphas) over what the mask keeps" in str(error.value)


def test_probabilities_of_what_the_mask_drops_are_refused() -> None:
    weights = np.full((14, 8), 0.125)
    mask = FULL.drop([("normal", 5, "skip_connect")])
    message = "'skip_connect' on edge 5 of 'normal' is 0.125; the mask drops it: give"
    with pytest.raises(GenotypeError, match=message):
        discretise(mask, {"normal": weights, "reduce": weights})


def test_rounding_of_probabilities_is_forgiven() -> None:
    weights = np.full((14, 8), 0.1251)
    weights[:, 4] = 0.125
    genotype = discretise(FULL, {"normal": weights, "reduce": weights})
    assert {op for op, _ in genotype.cells[0].genes} == {"max_pool_3x3"}
