"""The heat map marks what prune.json says, in colours that follow the scores."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nas_jax.report.artefacts import Operation, read_artefacts
from nas_jax.report.decisions import decide
from nas_jax.report.heatmap import (
    Scale,
    heat_map,
    legend,
    robust_scale,
    scales_by_round,
)
from nas_jax.report.shapes import shapes_of_pruning
from nas_jax.report.style import STEPS

SQUARE = re.compile(r'<g class="operation">.*?</g>')


def test_squares_mark_exactly_the_kept_operations(finished: Path) -> None:
    pruning = read_artefacts(finished).pruning
    assert pruning is not None
    scales = scales_by_round(pruning.operations)
    for shape in shapes_of_pruning(pruning).values():
        rows = [row for row in pruning.operations if row.cell == shape.name]
        squares = SQUARE.findall(heat_map(shape, rows, scales, "h"))
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
    squares = SQUARE.findall(heat_map(shape, rows, {1: Scale(-1, 1)}, "h"))
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


def operation(
    score: float | None,
    std: float | None,
    kept: bool,
    margin: float | None = None,
    round: int = 1,
) -> Operation:
    return Operation(
        "normal", 0, 0, 2, "op", kept, score, std, {}, {}, round, margin, ""
    )


def test_margin_has_the_sign_of_the_fate() -> None:
    rows = [
        operation(0.5, 0.1, True, 0.3),
        operation(0.3, 0.25, True, 0.1),
        operation(0.2, 0.01, False, 0.1),
        operation(0.2, 0.11, False, 0.1),
        operation(-0.1, None, False, 0.4),
        operation(None, None, False, round=0),
        operation(0.4, 0.1, True),
    ]
    decisions = decide(rows)
    assert [d.margin for d in decisions] == [0.3, 0.1, -0.1, -0.1, -0.4, None, None]
    assert [d.close for d in decisions] == [False, True, False, True, *[False] * 3]


def test_colours_compare_within_a_round_only() -> None:
    rows = [operation(float(score), 0.0, True, round=1) for score in range(101)]
    rows += [operation(float(score), 0.0, True, round=2) for score in range(11)]
    scales = scales_by_round(rows)
    # The middle 96%: 2 of 101 scores are cut at either end, and none of 11.
    assert scales == {1: Scale(2.0, 98.0), 2: Scale(0.0, 10.0)}
    assert scales[2].step(10.0) == scales[1].step(100.0) == 2 * STEPS


def test_a_colour_has_the_same_sign_in_every_round() -> None:
    rows = [operation(score, 0.0, True, round=1) for score in (-1.0, -3.0)]
    rows += [operation(score, 0.0, True, round=2) for score in (2.0, 1.0)]
    assert scales_by_round(rows) == {1: Scale(-3.0, 3.0), 2: Scale(-2.0, 2.0)}


def test_legend_has_words_for_values_where_rounds_have_their_own() -> None:
    rows = [operation(score, 0.0, True) for score in (0.25, 0.5)]
    one = legend(scales_by_round(rows), "h", rows)
    assert "≥ 0.5" in one and "no score" not in one and "round" not in one
    rows += [operation(7.0, 0.0, False, round=2), operation(None, 0.0, False, round=0)]
    two = legend(scales_by_round(rows), "h", rows)
    assert "≥" not in two and "lowest of its round" in two
    assert "dropped, no score" in two and "kept, no score" not in two
    assert "Colours compare scores of one round only" in two
    nothing = [operation(None, None, True, round=0)]
    assert "Colour scale" not in legend(scales_by_round(nothing), "h", nothing)


def test_squares_of_several_rounds_have_the_number(fake, tmp_path: Path) -> None:
    fake.fill(tmp_path, steps=2, epochs=1, strategy="te_nas", keep=1, rounds=2)
    pruning = read_artefacts(tmp_path).pruning
    assert pruning is not None
    scales = scales_by_round(pruning.operations)
    shape = shapes_of_pruning(pruning)["reduce"]
    rows = [row for row in pruning.operations if row.cell == "reduce"]
    squares = SQUARE.findall(heat_map(shape, rows, scales, "h"))
    assert len(squares) == len(rows)
    for row, square in zip(rows, squares, strict=True):
        numbers = re.findall(r'class="round">(\d+)<', square)
        assert numbers == ([str(row.round)] if row.name != "none" else [])
        if row.score is not None:
            step = scales[row.round].step(row.score)
            assert f"--heat{step})" in square
            assert f"score in round {row.round}" in square
