from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.errors import MaskError
from nas_jax.spaces import DARTS_OPS, SpaceMask, darts_space

SPACE = darts_space()
FULL = SpaceMask.full(SPACE)
SIGNAL = DARTS_OPS[1:]


@st.composite
def masks(draw: st.DrawFn) -> SpaceMask:
    """Masks in which every node keeps at least two edges with a signal."""
    subsets = st.sets(st.sampled_from(DARTS_OPS), min_size=1)
    kept = []
    for cell in SPACE.cells:
        edges = [draw(subsets) for _ in cell.edges]
        for node in cell.nodes:
            for edge in draw(st.permutations(cell.incoming(node)))[:2]:
                edges[edge].add(draw(st.sampled_from(SIGNAL)))
        kept.append(tuple(tuple(o for o in DARTS_OPS if o in ops) for ops in edges))
    return SpaceMask(SPACE, tuple(kept))


def cells_of(mask: SpaceMask) -> dict[str, Any]:
    return dict(json.loads(mask.to_json())["cells"])


def as_json(cells: object, space: str = "darts") -> str:
    return json.dumps({"space": space, "cells": cells})


def test_drop_removes_exactly_the_given_operations() -> None:
    gone = {("normal", 0, "none"), ("reduce", 13, "dil_conv_5x5")}
    mask = FULL.drop(gone)
    assert set(SPACE.operations()) - gone == {
        o for o in SPACE.operations() if mask.keeps(*o)
    }
    assert mask.num_kept == 222
    assert mask.kept_fraction == pytest.approx(222 / 224)
    assert FULL.num_kept == 224


def test_drop_of_what_is_not_kept() -> None:
    with pytest.raises(MaskError, match="no operation 'none' on edge 14 of a cell 'no"):
        FULL.drop([("normal", 14, "none")])
    mask = FULL.drop([("normal", 3, "skip_connect")])
    with pytest.raises(
        MaskError, match="'skip_connect' is not kept on edge 3 of 'normal'"
    ):
        mask.drop([("normal", 3, "skip_connect")])


@settings(max_examples=30)
@given(masks(), masks())
def test_and_is_the_intersection(a: SpaceMask, b: SpaceMask) -> None:
    expected = {n: a.arrays()[n] & b.arrays()[n] for n in ("normal", "reduce")}
    try:
        both = a & b
    except MaskError:
        # No valid mask is the intersection: an edge is cut or a node lacks signal.
        with pytest.raises(MaskError):
            SpaceMask.from_arrays(SPACE, expected)
        return
    for name, array in both.arrays().items():
        np.testing.assert_array_equal(array, expected[name])
    assert both <= a and both <= b


@settings(max_examples=30)
@given(masks(), masks())
def test_order_of_masks(mask: SpaceMask, other: SpaceMask) -> None:
    pairs = zip(mask.arrays().values(), other.arrays().values(), strict=True)
    assert (mask <= other) == all((x <= y).all() for x, y in pairs)
    assert mask <= FULL
    assert (FULL <= mask) == (mask == FULL)
    assert mask & FULL == mask == mask & mask


def test_masks_of_different_spaces() -> None:
    other = SpaceMask.full(darts_space(2))
    assert not FULL <= other
    with pytest.raises(MaskError, match=r"'darts' and 'darts\[2 nodes"):
        FULL & other


@settings(max_examples=30)
@given(masks())
def test_json_round_trip(mask: SpaceMask) -> None:
    again = SpaceMask.from_json(SPACE, mask.to_json())
    assert again == mask
    assert hash(again) == hash(mask)
    # As it is, and inside a prune.json, with the mark that some editors write.
    whole = json.dumps({"space": "darts", "level": 0.5, "mask": mask.to_dict()})
    assert SpaceMask.from_json(SPACE, "\ufeff" + whole) == mask


@settings(max_examples=30)
@given(masks())
def test_arrays_round_trip(mask: SpaceMask) -> None:
    arrays = mask.arrays()
    assert arrays["normal"].shape == (14, 8)
    assert arrays["normal"].dtype == bool
    assert sum(a.sum() for a in arrays.values()) == mask.num_kept
    numbers = {name: array.astype(np.float32) for name, array in arrays.items()}
    assert SpaceMask.from_arrays(SPACE, arrays) == mask
    assert SpaceMask.from_arrays(SPACE, numbers) == mask


@settings(max_examples=30)
@given(masks(), st.randoms())
def test_hand_edited_order_does_not_matter(mask: SpaceMask, random: Any) -> None:
    cells = cells_of(mask)
    for edges in cells.values():
        for ops in edges:
            random.shuffle(ops)
    assert SpaceMask.from_json(SPACE, as_json(cells)) == mask


def test_json_has_one_edge_on_a_line() -> None:
    lines = FULL.drop([("normal", 0, op) for op in SIGNAL[1:]]).to_json().splitlines()
    assert '      ["none", "max_pool_3x3"],' in lines
    assert len(lines) == 28 + 9


def test_unknown_operation() -> None:
    cells = cells_of(FULL)
    cells["normal"][4].append("sep_conv_7x7")
    with pytest.raises(MaskError) as error:
        SpaceMask.from_json(SPACE, as_json(cells))
    message = str(error.value)
    assert "edge 4 (2, 3) of cell 'normal'" in message
    assert "'sep_conv_7x7'" in message
    assert all(op in message for op in DARTS_OPS)


def test_edge_that_is_cut() -> None:
    cells = cells_of(FULL)
    cells["reduce"][7] = []
    with pytest.raises(MaskError) as error:
        SpaceMask.from_json(SPACE, as_json(cells))
    message = str(error.value)
    assert "edge 7 (2, 4) of cell 'reduce' keeps no operation" in message
    assert "Keep at least one of none, max_pool_3x3" in message
    with pytest.raises(MaskError, match="edge 0 .* keeps no operation"):
        FULL.drop([("normal", 0, op) for op in DARTS_OPS])


def test_node_without_two_signal_edges() -> None:
    dropped = [("normal", edge, op) for edge in (2, 3) for op in SIGNAL]
    with pytest.raises(MaskError) as error:
        FULL.drop(dropped)
    assert str(error.value) == (
        "node 3 of cell 'normal' has 1 edges with an operation other than 'none'; "
        "discretisation needs 2"
    )
    # One edge of `none` alone is allowed where two others carry a signal.
    assert FULL.drop(dropped[:7]).edge("normal", 2) == ("none",)


@pytest.mark.parametrize("names", [["normal"], ["normal", "reduction"]])
def test_wrong_cells(names: list[str]) -> None:
    cells = {name: cells_of(FULL)["normal"] for name in names}
    with pytest.raises(MaskError) as error:
        SpaceMask.from_json(SPACE, as_json(cells))
    assert f"the mask has cells {names}" in str(error.value)
    assert "expected ['normal', 'reduce']" in str(error.value)


def test_wrong_number_of_edges() -> None:
    cells = cells_of(FULL)
    cells["normal"].pop()
    with pytest.raises(
        MaskError, match=r"'normal' .* operations of 14 edges; got \[\["
    ):
        SpaceMask.from_json(SPACE, as_json(cells))
    with pytest.raises(MaskError, match="'reduce' has 14 edges; the mask has 13"):
        SpaceMask(SPACE, (FULL.kept[0], FULL.kept[1][:-1]))
    with pytest.raises(MaskError, match="the mask has 1 cells; .* 2: normal, reduce"):
        SpaceMask(SPACE, FULL.kept[:1])


@pytest.mark.parametrize("edge", ["none", [["none"]], None])
def test_edge_that_is_not_a_list_of_names(edge: object) -> None:
    cells = cells_of(FULL)
    cells["reduce"][1] = edge
    with pytest.raises(MaskError) as error:
        SpaceMask.from_json(SPACE, as_json(cells))
    assert "edge 1 of cell 'reduce' must be a list of operation names" in str(
        error.value
    )
    assert repr(edge) in str(error.value)


def test_repeated_operations() -> None:
    cells = cells_of(FULL)
    cells["normal"][2] = ["none", "skip_connect", "skip_connect"]
    with pytest.raises(
        MaskError, match=r"edge 2 .* of cell 'normal' repeats .*'skip_con"
    ):
        SpaceMask.from_json(SPACE, as_json(cells))


def test_other_space() -> None:
    with pytest.raises(MaskError, match="is for space 'nasbench', not 'darts'"):
        SpaceMask.from_json(SPACE, as_json(cells_of(FULL), "nasbench"))
    small = SpaceMask.full(darts_space(2)).to_json()
    with pytest.raises(MaskError, match=r"'darts\[2 nodes: .*, not 'darts'"):
        SpaceMask.from_json(SPACE, small)


@pytest.mark.parametrize(
    "text", ["", '{"space": "darts",}', "[" * 100_000, "[" + "9" * 5000]
)
def test_not_json(text: str) -> None:
    with pytest.raises(MaskError, match="the mask is not JSON: "):
        SpaceMask.from_json(SPACE, text)


@pytest.mark.parametrize(
    "data", [3, None, {"space": "darts", "cells": []}, {"mask": {}}, ["x" * 99]]
)
def test_json_of_another_kind(data: object) -> None:
    with pytest.raises(MaskError, match=r'a mask is \{"space": name, "cells"') as error:
        SpaceMask.from_json(SPACE, json.dumps(data))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("shape", [(8, 14), (14, 8, 1), ()])
def test_arrays_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    arrays = {"normal": np.ones((14, 8)), "reduce": np.ones(shape)}
    with pytest.raises(MaskError) as error:
        SpaceMask.from_arrays(SPACE, arrays)
    assert f"'reduce' has shape {shape}" in str(error.value)
    assert "[edges, operations] = (14, 8)" in str(error.value)


@pytest.mark.parametrize("value", [0.125, -1.0, np.nan, "yes"])
def test_arrays_that_hold_other_than_0_and_1(value: object) -> None:
    arrays = {
        name: array.astype(object if isinstance(value, str) else float)
        for name, array in FULL.arrays().items()
    }
    arrays["reduce"][3, 4] = value
    with pytest.raises(MaskError, match=f"of cell 'reduce' holds {value}; a mask hol"):
        SpaceMask.from_arrays(SPACE, arrays)


def test_arrays_of_a_cell_that_is_not_there() -> None:
    arrays = {**FULL.arrays(), "reduction": FULL.arrays()["reduce"]}
    with pytest.raises(MaskError, match=r"no cells \['reduction'\]; it has"):
        SpaceMask.from_arrays(SPACE, arrays)
