from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import GenotypeError, MaskError
from nas_jax.spaces import (
    NASBENCH201_OPS,
    Genotype,
    SpaceMask,
    darts_space,
    discretise,
    get_space,
    nasbench201,
    nasbench201_space,
)

SPACE = nasbench201_space()
FULL = SpaceMask.full(SPACE)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
EVERYTHING = list(itertools.product(NASBENCH201_OPS, repeat=6))
OPERATIONS = st.tuples(*[st.sampled_from(NASBENCH201_OPS)] * 6)
NONE, SKIP, CONV1, CONV3, POOL = NASBENCH201_OPS


@st.composite
def masks(draw: st.DrawFn) -> SpaceMask:
    ops = st.sets(st.sampled_from(NASBENCH201_OPS), min_size=1)
    kept = tuple(tuple(sorted(draw(ops))) for _ in EDGES)
    return SpaceMask(SPACE, (kept,))


def test_the_space() -> None:
    (cell,) = SPACE.cells
    assert (SPACE.name, cell.name, cell.num_inputs) == ("nasbench201", "cell", 1)
    assert cell.edges == EDGES
    assert cell.ops == cell.selectable
    assert cell.ops == (
        *("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    )
    assert cell.gene_nodes == (1, 2, 2, 3, 3, 3)
    assert cell.output == (3,)
    assert SPACE.num_operations == 30
    assert SPACE.size() == SPACE.size(FULL) == 5**6 == 15_625


def test_get_space() -> None:
    assert get_space("nasbench201") == get_space("nasbench201", 4) == SPACE
    with pytest.raises(MaskError) as error:
        get_space("nasbench201", 3)
    message = str(error.value)
    assert "num_nodes is 3" in message and "'nasbench201' are fixed" in message
    assert "leave num_nodes at 4" in message


@given(masks())
def test_every_mask_without_an_empty_edge_is_valid(mask: SpaceMask) -> None:
    assert SPACE.size(mask) == math.prod(len(ops) for ops in mask.cell("cell"))
    assert SpaceMask.from_json(SPACE, mask.to_json()) == mask


@given(masks(), st.integers(0, 2**32 - 1))
def test_discretise_takes_the_largest_of_each_edge(mask: SpaceMask, seed: int) -> None:
    # Few distinct values, so that ties are common: `argmax` takes the first.
    weights = np.random.default_rng(seed).integers(1, 4, (6, 5)) / 4
    weights *= mask.arrays()["cell"]
    weights /= weights.sum(axis=1, keepdims=True)
    genotype = discretise(mask, {"cell": weights})
    best = weights.argmax(axis=1)
    expected = tuple(NASBENCH201_OPS[i] for i in best)
    assert nasbench201.operations_of(genotype) == expected
    assert genotype == nasbench201.genotype_of(expected)


def test_discretise_can_choose_none() -> None:
    weights = np.full((6, 5), 0.1)
    weights[:, 0] = 0.6
    weights[4] = [0.025, 0.025, 0.025, 0.9, 0.025]
    genotype = discretise(FULL, {"cell": weights})
    assert str(genotype) == "|none~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"


def test_operations_of_another_space() -> None:
    genes = [("skip_connect", 0), ("skip_connect", 1)]
    other = Genotype.parse(darts_space(1), f"Genotype(normal={genes}, reduce={genes})")
    with pytest.raises(GenotypeError, match=r"'darts\[1 nodes.* of 'nasbench201'"):
        nasbench201.operations_of(other)


@pytest.mark.parametrize(
    "operations",
    [
        (),
        (SKIP,) * 7,
        (*[SKIP] * 5, "sep_conv_3x3"),
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        nasbench201.genotype_of,
        nasbench201.architecture_index,
        nasbench201.reachable,
        nasbench201.canonical,
    ],
)
def test_operations_that_do_not_fit(
    function: Callable[[object], object], operations: object
) -> None:
    with pytest.raises(GenotypeError) as error:
        function(operations)
    message = str(error.value)
    assert "of 6 edges, each one of none, skip_connect, nor_conv_1x1" in message
    assert repr(operations) in message


@pytest.mark.parametrize(
    ("index", "text"),
    [
        # The three that the official code asserts after it has shuffled.
        (
            0,
            "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
            "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        ),
        (9, "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"),
        (
            123,
            "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+"
            "|none~0|avg_pool_3x3~1|nor_conv_3x3~2|",
        ),
    ],
)
def test_published_indices(index: int, text: str) -> None:
    operations = nasbench201.official_order()[index]
    assert str(nasbench201.genotype_of(operations)) == text
    assert nasbench201.architecture_index(operations) == index


def test_indices_are_a_permutation() -> None:
    order = nasbench201.official_order()
    assert sorted(order) == sorted(EVERYTHING)
    assert [nasbench201.architecture_index(o) for o in order] == list(range(15_625))
    # Of the table, one architecture string a line: Python must not shuffle otherwise.
    text = "\n".join(str(nasbench201.genotype_of(operations)) for operations in order)
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"
    )


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        # Edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
        ((SKIP,) * 6, [1, 1, 1, 1, 1, 1]),
        ((NONE,) * 6, [0, 0, 0, 0, 0, 0]),
        # Node 1 gets no signal, so what reads it is cut.
        ((NONE, CONV1, CONV3, NONE, POOL, SKIP), [0, 1, 0, 0, 0, 1]),
        # Node 2 leads nowhere, so what feeds it is cut.
        ((POOL, CONV1, CONV3, NONE, SKIP, NONE), [1, 0, 0, 0, 1, 0]),
        # Nodes 1 and 2 lead to each other only.
        ((POOL, NONE, CONV3, CONV3, NONE, NONE), [0, 0, 0, 1, 0, 0]),
        # No edge reaches the output.
        ((POOL, CONV3, CONV3, NONE, NONE, NONE), [0, 0, 0, 0, 0, 0]),
        # Every path is cut in the middle.
        ((POOL, NONE, NONE, NONE, NONE, CONV3), [0, 0, 0, 0, 0, 0]),
        # A chain through both nodes.
        ((POOL, NONE, CONV3, NONE, NONE, CONV1), [1, 0, 1, 0, 0, 1]),
    ],
)
def test_reachable_by_hand(operations: tuple[str, ...], expected: list[int]) -> None:
    carries = nasbench201.reachable(operations)
    assert carries.dtype == bool
    np.testing.assert_array_equal(carries, np.array(expected, bool))


def test_reachable_is_what_lies_on_a_path() -> None:
    paths = [{3}, {0, 4}, {1, 5}, {0, 2, 5}]  # All paths from 0 to 3, by edge.
    for operations in EVERYTHING:
        live = {edge for edge, op in enumerate(operations) if op != NONE}
        expected = set().union(*(path for path in paths if path <= live))
        assert set(np.flatnonzero(nasbench201.reachable(operations))) == expected


@pytest.mark.parametrize(
    ("operations", "expression"),
    [
        ((SKIP,) * 6, "0+0+0+0"),
        ((NONE,) * 6, "#+#+#"),
        (
            (CONV1, NONE, SKIP, NONE, NONE, CONV3),
            "#+#+(#+(0)@nor_conv_1x1)@nor_conv_3x3",
        ),
        # Node 1 is zero, so what reads it is zero, whatever it is.
        ((NONE, POOL, CONV1, NONE, CONV3, SKIP), "#+#+#+(0)@avg_pool_3x3"),
    ],
)
def test_canonical_by_hand(operations: tuple[str, ...], expression: str) -> None:
    assert nasbench201.canonical(operations) == expression


def test_published_numbers_of_classes() -> None:
    assert len({nasbench201.canonical(o) for o in EVERYTHING}) == 6_466
    assert len({nasbench201.canonical(o, False) for o in EVERYTHING}) == 12_751


def test_architectures_of_one_class_compute_the_same() -> None:
    rng = np.random.default_rng(0)
    matrices = {op: rng.normal(size=(4, 4)) for op in (CONV1, CONV3, POOL)}
    image = rng.normal(size=4)

    def apply(op: str, x: np.ndarray) -> np.ndarray:
        if op in matrices:
            return np.tanh(matrices[op] @ x)
        return x if op == SKIP else np.zeros(4)

    def output(operations: tuple[str, ...]) -> tuple[float, ...]:
        a, b, c, d, e, f = operations
        one = apply(a, image)
        two = apply(b, image) + apply(c, one)
        total = apply(d, image) + apply(e, one) + apply(f, two)
        return tuple(np.round(total, 9) + 0.0)

    values: dict[str, set[tuple[float, ...]]] = {}
    for operations in EVERYTHING:
        key = nasbench201.canonical(operations)
        values.setdefault(key, set()).add(output(operations))
    assert {len(different) for different in values.values()} == {1}
    assert len(set().union(*values.values())) == 4_930
