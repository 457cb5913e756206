"""Curves and alpha panels: the numbers that are drawn are the numbers logged."""

from __future__ import annotations

import math
import re

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.report.charts import Curve, curve, line_chart, thin
from nas_jax.report.logs import LogRow, SearchLog
from nas_jax.report.panels import (
    alpha_panels,
    line_path,
    lone_points,
    nice_top,
    pick_rows,
)
from nas_jax.report.shapes import CellShape, Gene

SHAPE = CellShape("normal", 1, 1, ((0, 1),), ("none", "skip_connect", "sep_conv_3x3"))


def test_chart_follows_the_page_and_carries_nothing_foreign() -> None:
    item = Curve("training", "accent", (0.0, 1.0, 2.0), (1.0, 0.5, 0.25))
    svg = line_chart([item], "Loss", "loss", as_percent=False)
    assert svg.startswith("<svg ")
    assert "stroke: var(--accent)" in svg
    assert "#0" not in svg and "font-family" not in svg
    for foreign in ("<style", "<?xml", "<!", "metadata", "http", "xmlns"):
        assert foreign not in svg
    assert all(name.startswith("loss-") for name in re.findall(r'id="(.*?)"', svg))


def test_chart_leaves_matplotlib_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    line_chart([Curve("a", "accent", (0.0,), (1.0,))], "a", "a", as_percent=True)
    assert dict(matplotlib.rcParams) == before


def test_curve_leaves_out_what_is_not_finite() -> None:
    rows = (
        LogRow(1, {"epoch": 0.5, "loss": 3.0}),
        LogRow(2, {"epoch": 1.0, "loss": math.nan}),
        LogRow(3, {"epoch": 1.5}),
        LogRow(4, {"epoch": 2.0, "loss": 1.0}),
    )
    found = curve(rows, "loss", "training", "accent")
    assert found is not None
    assert (found.x, found.y) == ((0.5, 2.0), (3.0, 1.0))
    assert curve(rows, "accuracy", "training", "accent") is None


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=200),
    st.integers(1, 50),
)
def test_thinning_keeps_the_range_and_the_mean(values: list[float], most: int) -> None:
    groups = thin(values, most)
    assert len(groups) == min(most, len(values))
    assert min(low for _, low, _ in groups) == min(values)
    assert max(high for _, _, high in groups) == max(values)
    if len(values) <= most:
        assert [mean for mean, _, _ in groups] == values


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_picked_rows_hold_both_ends_in_order(count: int, lines: int) -> None:
    rows = pick_rows(count, lines)
    assert rows[0] == 0 and rows[-1] == count - 1
    assert rows == sorted(set(rows))


def test_path_breaks_at_gaps() -> None:
    assert line_path([0, 1, 2, 3], [5, None, 6, 7]) == "M0 5M2 6L3 7"


@pytest.mark.parametrize(
    ("highest", "top"), [(0.1, 0.2), (0.2, 0.4), (0.5, 0.6), (0.79, 1.0), (1.0, 1.0)]
)
def test_axis_leaves_air(highest: float, top: float) -> None:
    assert nice_top(highest) == top


def test_panel_draws_live_operations_and_marks_the_chosen_one() -> None:
    alphas = tuple({"normal": ((0.0, 0.5 + t, 0.5 - t),)} for t in (0.0, 0.25))
    log = SearchLog((LogRow(0, {}), LogRow(10, {})), alphas)
    gene = Gene("skip_connect", 0, 1)
    (panel,) = alpha_panels(SHAPE, log, (gene,), 1.0, [0, 1])
    lines = re.findall(r'<path class="line ([^"]*)"[^>]* d="(.*?)"', panel)
    # The pruned `none` is not drawn; the chosen line lies on top, so it comes last.
    assert [name for name, _ in lines] == ["op-sep", "op-skip chosen"]
    heights = {name: re.findall(r"[ML][\d.]+ ([\d.]+)", d) for name, d in lines}
    # Panel from y = 20 (probability 1) to y = 107 (0): 0.5 is 63.5, 0.75 is 41.75.
    assert heights["op-skip chosen"] == ["63.5", "41.75"]
    assert heights["op-sep"] == ["63.5", "85.25"]
    (unmarked,) = alpha_panels(SHAPE, log, (), 1.0, [0, 1])
    assert "chosen" not in unmarked


def test_one_point_is_a_dot_in_the_middle_of_its_panel() -> None:
    log = SearchLog((LogRow(50, {}),), ({"normal": ((0.0, 0.75, 0.25),)},))
    gene = Gene("skip_connect", 0, 1)
    (panel,) = alpha_panels(SHAPE, log, (gene,), 1.0, [0])
    dots = re.findall(r'<circle class="lone op-(\w+)" cx="(.*?)" cy="(.*?)" r', panel)
    # From y = 20 (probability 1) to y = 107 (0).
    assert dots == [("sep", "71", "85.25"), ("skip", "71", "41.75")]


def test_points_between_gaps_are_dots() -> None:
    assert lone_points([0, 1, 2, 3], [5, None, 6, 7]) == [(0, 5)]
    assert lone_points([0, 1, 2], [None, 4, None]) == [(1, 4)]
    assert lone_points([0, 1], [4, 5]) == []
    assert lone_points([0], [None]) == []


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("as_percent", [False, True])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((0.0625,), (0.5,)),
        ((0.125, 0.25), (0.5, 0.5001)),
        ((1.0, 2.0), (0.97501, 0.97502)),
        ((1000.0, 1000.5), (0.001, 0.002)),
        ((3.0,), (0.0,)),
        ((3.0,), (1.0,)),
    ],
)
def test_no_two_ticks_have_the_same_label(
    x: tuple[float, ...], y: tuple[float, ...], as_percent: bool
) -> None:
    svg = line_chart([Curve("a", "accent", x, y)], "a", "a", as_percent)
    found = labels(svg)
    assert len(found) == len(set(found)) > 2


def test_labels_are_the_values_of_their_ticks() -> None:
    item = Curve("a", "accent", (0.0, 1.0), (0.001, 0.009))
    found = labels(line_chart([item], "a", "a", as_percent=False))
    # Coordinates are rounded to two decimals, what is read is not.
    assert {"0.002", "0.004", "0.006", "0.008"} <= set(found)
    one = Curve("a", "accent", (0.0625,), (0.5,))
    assert labels(line_chart([one], "a", "a", as_percent=True))[0] == "0.0625"
