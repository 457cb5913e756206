"""Charts: the numbers that are drawn are those logged, and a page can hold many."""

from __future__ import annotations

import math
import re

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.report.charts import (
    Curve,
    alpha_panels,
    axis_of,
    curve,
    line_chart,
    pick_rows,
)
from nas_jax.report.logs import LogRow, SearchLog
from nas_jax.spaces import CellSpec

OPS = ("none", "skip_connect", "sep_conv_3x3")
SHAPE = CellSpec("normal", 1, 1, ((0, 1),), OPS, edges_per_node=1)


def labels(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_chart_follows_the_page_and_carries_nothing_foreign() -> None:
    before = dict(matplotlib.rcParams)
    item = Curve("training", "accent", (0.0, 1.0, 2.0), (1.0, 0.5, 0.25))
    svg = line_chart([item], 'Loss <of> "it"', "loss", as_percent=False)
    assert dict(matplotlib.rcParams) == before
    name = "Loss &lt;of&gt; &#34;it&#34;"
    assert svg.startswith(f'<svg class="chart" role="img" aria-label="{name}" ')
    assert f"<title>{name}</title>" in svg
    assert "stroke: var(--accent)" in svg
    assert not re.search(r'[:"] ?#0', svg)
    for foreign in ("<style", "<?xml", "<!", "metadata", "http", "font-family"):
        assert foreign not in svg
    ids = re.findall(r'\bid="(.*?)"', svg)
    assert ids and all(name.startswith("loss-") for name in ids)
    used = re.findall(r'(?:url\(|href=")#([^)"]*)', svg)
    assert set(used) <= set(ids)
    assert line_chart([item], 'Loss <of> "it"', "loss", as_percent=False) == svg


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


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_picked_rows_hold_both_ends_in_order(count: int, lines: int) -> None:
    rows = pick_rows(count, lines)
    assert rows[0] == 0 and rows[-1] == count - 1
    assert rows == sorted(set(rows))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_axis_of_alphas_is_as_long_as_they_need(values: list[float]) -> None:
    low, high = axis_of(np.array([math.nan, *values]))
    assert 0 <= low <= min(values) + 1e-6 and max(values) - 1e-6 <= high <= 1
    reach = max(values) - min(values)
    assert high - low <= max(0.001, 2.5 * reach) + 1e-6


def panel(*probabilities: float, chosen: str | None = None) -> str:
    """The panel of an edge whose skip connection has these probabilities in turn."""
    log = SearchLog(
        tuple(LogRow(10 * i, {}) for i in range(len(probabilities))),
        tuple({"normal": ((0.0, p, 1 - p),)} for p in probabilities),
    )
    chosen_by_edge = {(0, 1): chosen} if chosen else {}
    rows = list(range(len(probabilities)))
    (found,) = alpha_panels(SHAPE, log, chosen_by_edge, rows, "a")
    return found.picture


def lines(svg: str) -> dict[str, str]:
    """The path of each operation's line by its kind."""
    found = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--op-(\w+)\)', svg)
    return {kind: d for d, kind in found}


def heights(d: str) -> list[float]:
    return [float(y) for y in re.findall(r"[ML]\S+ ([\d.]+)", d)]


def test_panel_draws_live_operations_and_marks_the_chosen_one() -> None:
    svg = panel(0.5, 0.75, chosen="skip_connect")
    # The pruned `none` is not drawn; the chosen line lies on top, so it comes last.
    assert list(lines(svg)) == ["sep", "skip"]
    (up, down) = (heights(lines(svg)[kind]) for kind in ("skip", "sep"))
    assert up[0] == down[0] and up[1] < up[0]
    assert down[1] - down[0] == pytest.approx(up[0] - up[1])
    assert "at the end skip_connect 0.75, sep_conv_3x3 0.25" in svg
    widths = re.findall(r"stroke: var\(--op-skip\); stroke-width: ([\d.]+)", svg)
    plain = panel(0.5, 0.75)
    assert widths > re.findall(r"--op-skip\); stroke-width: ([\d.]+)", plain)


def test_movement_of_a_thousandth_is_seen_and_its_axis_is_told() -> None:
    svg = panel(0.5, 0.501)
    first, last = heights(lines(svg)["skip"])
    # A fifth of a panel of 100 units at least.
    assert first - last > 20
    low, high = (float(text.rstrip("%")) for text in sorted(labels(svg)))
    assert 49 < low < 49.9 and 50.1 <= high < 51


def test_points_without_a_neighbour_are_dots() -> None:
    dots = r'<use href="#[^"]*" x="([\d.]+)"[^>]*--op-skip'
    # A single time stands in the middle of the 142 units.
    assert re.findall(dots, panel(0.25)) == ["71"]
    assert re.findall(dots, panel(0.25, math.nan, 0.5, 0.75)) == ["0"]
    assert re.findall(dots, panel(0.5, 0.75)) == []
    assert "nan" not in panel(0.25, math.nan, 0.5).lower().split("at the end")[0]


@pytest.mark.parametrize(
    ("x", "y"), [((0.0625,), (0.5,)), ((1000.0, 1000.5), (0.97501, 0.97502))]
)
def test_no_two_ticks_have_the_same_label(
    x: tuple[float, ...], y: tuple[float, ...]
) -> None:
    for as_percent in (False, True):
        svg = line_chart([Curve("a", "accent", x, y)], "a", "a", as_percent)
        found = labels(svg)
        assert len(found) == len(set(found)) > 2
