from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import MaskError
from nas_jax.spaces import (
    DARTS_OPS,
    CellSpec,
    SearchSpace,
    SpaceMask,
    darts_space,
    get_space,
)

SMALL = darts_space(2, ("none", "skip_connect", "sep_conv_3x3"))


def small_architectures() -> list[frozenset[tuple[str, int, str]]]:
    """Every architecture of `SMALL` as the operations that it uses."""
    cells = []
    for cell in SMALL.cells:
        nodes = []
        for target in (2, 3):
            edges = [i for i, (_, node) in enumerate(cell.edges) if node == target]
            options = list(itertools.product(edges, ("skip_connect", "sep_conv_3x3")))
            nodes.append(
                [
                    {(cell.name, *first), (cell.name, *second)}
                    for first, second in itertools.combinations(options, 2)
                    if first[0] != second[0]
                ]
            )
        cells.append([a | b for a, b in itertools.product(*nodes)])
    return [frozenset(a | b) for a, b in itertools.product(*cells)]


ARCHITECTURES = small_architectures()


@st.composite
def small_masks(draw: st.DrawFn) -> SpaceMask:
    kept = draw(
        st.tuples(
            *[
                st.tuples(
                    *[
                        st.sets(st.sampled_from(cell.ops), min_size=1)
                        for _ in cell.edges
                    ]
                )
                for cell in SMALL.cells
            ]
        ).filter(_is_valid)
    )
    return SpaceMask(
        SMALL,
        tuple(
            tuple(tuple(o for o in cell.ops if o in ops) for ops in edges)
            for cell, edges in zip(SMALL.cells, kept, strict=True)
        ),
    )


def _is_valid(kept: tuple[tuple[set[str], ...], ...]) -> bool:
    # Edges 0 and 1 end at node 2, edges 2 to 4 at node 3.
    return all(
        sum(ops != {"none"} for ops in node) >= 2
        for edges in kept
        for node in (edges[:2], edges[2:])
    )


def test_size_of_the_darts_space() -> None:
    # A node with n predecessors keeps 2 of them: C(2, 2) = 1, C(3, 2) = 3, C(4, 2) = 6
    # and C(5, 2) = 10 ways; each of the 8 chosen edges has one of 7 operations. So a
    # cell has 1 * 3 * 6 * 10 * 7^8 = 180 * 5,764,801 = 1,037,664,180 genotypes, and
    # the two cells are independent.
    assert darts_space().size() == (1 * 3 * 6 * 10 * 7**8) ** 2
    assert darts_space().size() == 1_037_664_180**2


def test_size_of_a_small_space_by_brute_force() -> None:
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES) == (1 * 3 * 2**4) ** 2
    assert SMALL.size() == len(ARCHITECTURES)


@given(small_masks())
def test_size_of_a_masked_space_by_brute_force(mask: SpaceMask) -> None:
    inside = sum(
        all(mask.keeps(*operation) for operation in used) for used in ARCHITECTURES
    )
    assert SMALL.size(mask) == inside


def test_full_mask_does_not_change_the_size() -> None:
    space = darts_space()
    assert space.size(SpaceMask.full(space)) == space.size()


def test_canonical_order_of_the_edges() -> None:
    normal, reduce = darts_space().cells
    assert (normal.name, reduce.name) == ("normal", "reduce")
    assert normal.edges == reduce.edges
    assert normal.edges == (
        *((0, 2), (1, 2)),
        *((0, 3), (1, 3), (2, 3)),
        *((0, 4), (1, 4), (2, 4), (3, 4)),
        *((0, 5), (1, 5), (2, 5), (3, 5), (4, 5)),
    )
    assert normal.incoming(3) == (2, 3, 4)
    assert normal.nodes == range(2, 6)


def test_operations_in_canonical_order() -> None:
    space = darts_space()
    operations = list(space.operations())
    assert len(operations) == space.num_operations == 2 * 14 * 8
    assert operations[:2] == [("normal", 0, "none"), ("normal", 0, "max_pool_3x3")]
    assert operations[8] == ("normal", 1, "none")
    assert operations[14 * 8] == ("reduce", 0, "none")
    assert operations[-1] == ("reduce", 13, "dil_conv_5x5")


def test_ops_are_darts_primitives() -> None:
    assert DARTS_OPS == (
        "none",
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    )


def test_equal_spaces_are_equal_and_hash_alike() -> None:
    assert darts_space() == darts_space()
    assert hash(darts_space()) == hash(darts_space())
    assert darts_space() != darts_space(2)


def test_variants_have_other_names() -> None:
    names = {darts_space().name, darts_space(2).name, SMALL.name}
    assert len(names) == 3
    assert darts_space(4, DARTS_OPS).name == "darts"


def test_get_space() -> None:
    assert get_space("darts") == darts_space()
    with pytest.raises(MaskError, match=r"unknown search space 'dart'; allowed: darts"):
        get_space("dart")


def test_unknown_cell_lists_the_cells() -> None:
    with pytest.raises(KeyError, match=r"no cell 'reduction'.*'normal', 'reduce'"):
        darts_space().cell("reduction")


@pytest.mark.parametrize(
    ("edges", "ops", "message"),
    [
        (((1, 2), (0, 2)), ("none",), "edges must be unique, by target"),
        (((0, 2), (0, 2)), ("none",), "edges must be unique, by target"),
        (((2, 2),), ("none",), r"edge \(2, 2\) must point"),
        (((0, 1),), ("none",), r"edge \(0, 1\) must point .* 2\.\.2"),
        (((0, 3),), ("none",), r"edge \(0, 3\) must point"),
        (((0, 2), (1, 2)), ("none", "none"), "repeat"),
    ],
)
def test_broken_cells_are_refused(
    edges: tuple[tuple[int, int], ...], ops: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CellSpec("normal", 2, 1, edges, ops, edges_per_node=2)


def test_space_of_one_cell_counts_by_hand() -> None:
    # 2 edges with 2 signal operations each, both kept: 4 genotypes.
    cell = CellSpec("only", 2, 1, ((0, 2), (1, 2)), ("a", "b"), edges_per_node=2)
    assert SearchSpace("tiny", (cell,)).size() == 4
