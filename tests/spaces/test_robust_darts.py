from __future__ import annotations

import numpy as np
import pytest

from nas_jax.errors import MaskError
from nas_jax.spaces import (
    DARTS_OPS,
    ROBUST_DARTS,
    Genotype,
    SpaceMask,
    darts_space,
    discretise,
    get_mask,
    get_space,
    robust_darts,
)

# The edges that hold each operation in RobustDARTS' `primitives_1`: the table of the
# package by column instead of by row. Edges 0-1 end at node 2, 2-4 at node 3, 5-8 at
# node 4, 9-13 at node 5.
S1_NORMAL = {
    "max_pool_3x3": {5, 10},
    "skip_connect": set(range(12)),
    "sep_conv_3x3": {3, 6, 7, 9},
    "dil_conv_3x3": {0, 4, 8, 11, 12, 13},
    "dil_conv_5x5": {1, 2, 12, 13},
}
S1_REDUCE = {
    "max_pool_3x3": {0, 1, 2, 3, 5, 6, 9, 10},
    "avg_pool_3x3": {0, 2, 3, 5, 9, 10},
    "skip_connect": {4, 7, 8, 11, 12, 13},
    "sep_conv_3x3": {6},
    "dil_conv_3x3": {1, 7},
    "dil_conv_5x5": {4, 8, 11, 12, 13},
}


@pytest.mark.parametrize(
    ("cell", "edges"), [("normal", S1_NORMAL), ("reduce", S1_REDUCE)]
)
def test_s1_by_operation(cell: str, edges: dict[str, set[int]]) -> None:
    mask = robust_darts("s1")
    for op in DARTS_OPS:
        kept = {edge for edge in range(14) if mask.keeps(cell, edge, op)}
        assert kept == edges.get(op, set()), op


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        ("s2", {"skip_connect", "sep_conv_3x3"}),
        ("s3", {"none", "skip_connect", "sep_conv_3x3"}),
        ("s4", {"noise", "sep_conv_3x3"}),
    ],
)
def test_spaces_with_the_same_operations_on_every_edge(
    name: str, ops: set[str]
) -> None:
    mask = robust_darts(name)
    assert [cell.name for cell in mask.space.cells] == ["normal", "reduce"]
    for edges in mask.kept:
        assert [set(kept) for kept in edges] == [ops] * 14


@pytest.mark.parametrize("name", ROBUST_DARTS)
def test_size(name: str) -> None:
    # 2 operations can be selected on every edge: `none` of S3 cannot. A cell chooses 2
    # edges of 2, 3, 4 and 5, in 1 * 3 * 6 * 10 ways, and one of 2 operations on 8.
    mask = robust_darts(name)
    assert mask.space.size(mask) == (180 * 2**8) ** 2 == 46_080**2


@pytest.mark.parametrize("name", ["s1", "s2", "s3"])
def test_masks_of_the_darts_space(name: str) -> None:
    mask = robust_darts(name)
    assert mask.space == darts_space()
    assert SpaceMask.from_json(darts_space(), mask.to_json()) == mask


def test_s2_lies_in_s3() -> None:
    assert robust_darts("s2") <= robust_darts("s3")
    assert not robust_darts("s3") <= robust_darts("s2")
    assert not robust_darts("s1") <= robust_darts("s3")


def test_s4_is_a_space_of_its_own() -> None:
    mask = robust_darts("s4")
    assert mask == SpaceMask.full(darts_space(4, ("noise", "sep_conv_3x3")))
    assert mask.space.name != darts_space().name
    assert SpaceMask.from_json(mask.space, mask.to_json()) == mask


def test_noise_can_be_selected() -> None:
    mask = robust_darts("s4")
    weights = np.tile([0.6, 0.4], (14, 1))
    genotype = discretise(mask, {"normal": weights, "reduce": weights[:, ::-1]})
    normal, reduce = genotype.cells
    assert {op for op, _ in normal.genes} == {"noise"}
    assert {op for op, _ in reduce.genes} == {"sep_conv_3x3"}
    assert Genotype.parse(mask.space, str(genotype)) == genotype


@pytest.mark.parametrize("name", ["s5", "S1", "", "darts"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(MaskError) as error:
        robust_darts(name)
    assert f"no space {name!r}; allowed: s1, s2, s3, s4" in str(error.value)


@pytest.mark.parametrize("name", ROBUST_DARTS)
def test_get_mask_of_a_part(name: str) -> None:
    assert get_mask(name) == robust_darts(name)
    with pytest.raises(MaskError, match=f"num_nodes is 2, .* space '{name}' are fixed"):
        get_mask(name, 2)


@pytest.mark.parametrize("name", ["darts", "nasbench201", "s4"])
def test_get_mask_of_a_whole_space(name: str) -> None:
    assert get_mask(name) == SpaceMask.full(get_space(name))


def test_get_mask_of_a_small_darts_space() -> None:
    assert get_mask("darts", 2) == SpaceMask.full(darts_space(2))


def test_get_mask_of_an_unknown_name() -> None:
    with pytest.raises(MaskError) as error:
        get_mask("s5")
    assert "unknown search space 's5'; allowed: darts, nasbench201, s1, s2" in str(
        error.value
    )
