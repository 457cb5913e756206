"""The heat map marks what prune.json says, in colours that follow the scores."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.report.artefacts import Operation, read_artefacts
from nas_jax.report.decisions import decide
from nas_jax.report.heatmap import Scale, heat_map, robust_scale
from nas_jax.report.shapes import shapes_of_pruning
from nas_jax.report.style import STEPS

SQUARE = re.compile(r'<g class="operation">.*?</g>')


def test_squares_mark_exactly_the_kept_operations(finished: Path) -> None:
    pruning = read_artefacts(finished).pruning
    assert pruning is not None
    scale = robust_scale([o.score for o in pruning.operations if o.score is not None])
    for shape in shapes_of_pruning(pruning).values():
        rows = [row for row in pruning.operations if row.cell == shape.name]
        squares = SQUARE.findall(heat_map(shape, rows, scale, "h"))
        assert len(squares) == 14 * 8
        kept, struck, hatched = set(), set(), set()
        for square in squares:
            edge, name = re.findall(r"<title>(\d+ → \d+), (\w+):", square)[0]
            if 'class="kept"' in square:
                kept.add((edge, name))
            if 'class="strike"' in square:
                struck.add((edge, name))
            if "url(#h)" in square:
                hatched.add((edge, name))
        expected = {(f"{r.source} → {r.target}", r.name) for r in rows if r.kept}
        everything = {(f"{r.source} → {r.target}", r.name) for r in rows}
        assert kept == expected
        assert struck == everything - expected
        assert hatched == {(edge, name) for edge, name in everything if name == "none"}


def test_square_stands_at_its_edge_and_operation(finished: Path) -> None:
    pruning = read_artefacts(finished).pruning
    assert pruning is not None
    shape = shapes_of_pruning(pruning)["normal"]
    rows = [row for row in pruning.operations if row.cell == "normal"]
    squares = SQUARE.findall(heat_map(shape, rows, Scale(-1, 1), "h"))
    places = {}
    for row, square in zip(rows, squares, strict=True):
        x, y = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', square)[0]
        places[(float(x), float(y))] = row
    assert len(places) == 112
    columns = sorted({x for x, _ in places})
    lines = sorted({y for _, y in places})
    for (x, y), row in places.items():
        assert row.edge == lines.index(y)
        assert row.name == shape.operations[columns.index(x)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_colour_steps_are_in_range_and_follow_the_order(scores: list[float]) -> None:
    scale = robust_scale(scores)
    steps = [scale.step(score) for score in sorted(scores)]
    assert steps == sorted(steps)
    assert 0 <= steps[0] and steps[-1] <= 2 * STEPS
    if scale.diverging:
        assert scale.step(0.0) == STEPS


def test_outlier_does_not_wash_out_the_rest() -> None:
    scores = [0.01 * i for i in range(100)] + [1e6]
    scale = robust_scale(scores)
    assert scale.high < 1.0
    assert scale.step(1e6) == 2 * STEPS


def test_one_sign_uses_one_side_of_the_scale() -> None:
    assert robust_scale([1.0, 2.0, 3.0]).step(1.0) == STEPS
    assert robust_scale([-1.0, -2.0, -3.0]).step(-3.0) == 0
    assert robust_scale([-1.0, -2.0, -3.0]).step(-1.0) == STEPS


def operation(score: float | None, std: float | None, kept: bool) -> Operation:
    return Operation("normal", 0, 0, 2, "op", kept, score, std, {}, "")


def test_margin_is_the_distance_to_the_other_side() -> None:
    rows = [
        operation(0.5, 0.1, True),
        operation(0.3, 0.25, True),
        operation(0.2, 0.01, False),
        operation(-0.1, None, False),
        operation(None, None, False),
    ]
    decisions = decide(rows)
    margins = [d.margin for d in decisions]
    # 0.5 - 0.2, 0.3 - 0.2, 0.2 - 0.3, -0.1 - 0.3
    assert margins[:4] == pytest.approx([0.3, 0.1, -0.1, -0.4])
    assert margins[4] is None
    assert [d.close for d in decisions] == [False, True, False, False, False]


def test_margin_needs_an_operation_on_the_other_side() -> None:
    kept = operation(0.5, 0.1, True)
    other_edge = dataclasses.replace(operation(0.1, 0.1, False), edge=1)
    assert [d.margin for d in decide([kept, other_edge])] == [None, None]
