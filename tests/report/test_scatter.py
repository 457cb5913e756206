"""The scatter plot: points where they belong, and what the reader must be told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup
from numpy.typing import ArrayLike

from nas_jax.errors import DataError, WorkdirError
from nas_jax.report.scatter import axis_range, interval_text, scatter, write_scatter
from nas_jax.tabular import Correlation, kendall, spearman


def draw(
    x: ArrayLike, y: ArrayLike, score: str = "nwot", accuracy: str = "test"
) -> Markup:
    rho, tau = spearman(x, y, samples=50), kendall(x, y, samples=50)
    return scatter(x, y, rho, tau, score_name=score, accuracy_name=accuracy)


def points(svg: str) -> list[tuple[float, float]]:
    found = re.findall(r"M(-?[\d.]+) (-?[\d.]+)h0", svg)
    return [(float(x), float(y)) for x, y in found]


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("text")]


def test_points_lie_between_the_ends_of_the_axes() -> None:
    found = points(draw([0.0, 1.0, 2.0], [30.0, 10.0, 20.0]))
    # 562 by 316 pixels from (64, 378), with 2% of the values' span left free around.
    left, right = 64 + 562 * 0.02 / 1.04, 64 + 562 * 1.02 / 1.04
    low, high = 378 - 316 * 0.02 / 1.04, 378 - 316 * 1.02 / 1.04
    expected = [(left, high), ((left + right) / 2, low), (right, (low + high) / 2)]
    np.testing.assert_allclose(sorted(found), expected, atol=0.06)


def test_every_finite_pair_is_drawn_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2000))
    x[:3], y[3] = (np.nan, np.inf, -np.inf), np.nan
    svg = draw(x, y)
    assert len(points(svg)) == 1996
    assert any("1,996 architectures, 4 more failed" in text for text in texts(svg))
    assert "failed" not in draw(x[4:], y[4:])
    layers = re.findall(r"stroke-opacity:([\d.]+)", svg)
    assert len(layers) > 1 and set(layers) == {"0.25"}


def test_title_has_both_correlations_with_their_intervals() -> None:
    rho = Correlation(0.8114, 0.8034, 0.8195, 0.9, 2, 0)
    tau = Correlation(-0.5, -0.61, -0.4, 0.9, 2, 0)
    found = texts(
        scatter([1, 2], [3, 4], rho, tau, score_name="nwot", accuracy_name="test (%)")
    )
    assert found[:3] == [
        "nwot against test (%)",
        "Spearman ρ = 0.811 [0.803, 0.820], Kendall τ = −0.500 [−0.610, −0.400]",
        "2 architectures, 90% intervals in brackets",
    ]
    assert "nwot" in found[3:] and "test (%)" in found[3:]
    few = texts(draw([1, 2], [3, 4]))
    assert few[1:3] == [
        "Spearman ρ = 1.000 (too few), Kendall τ = 1.000 (too few)",
        "2 architectures, an interval needs 4",
    ]
    ordered = texts(draw([1, 2, 3, 4], [4, 3, 2, 1]))
    assert ordered[1:3] == [
        "Spearman ρ = −1.000 (no spread), Kendall τ = −1.000 (no spread)",
        "4 architectures, every resample ranks alike",
    ]
    assert "interval" not in draw([5.0, 5.0], [1.0, 2.0])
    nothing = Correlation(np.nan, np.nan, np.nan, 0.95, 2, 0)
    assert interval_text("ρ", nothing) == "ρ undefined"


def test_ticks_stand_at_their_values() -> None:
    svg = draw([0.0, 100.0], [-1.0, 1.0])
    shown = texts(svg)
    assert {"0", "20", "40", "60", "80", "100"} <= set(shown)
    assert {"−1", "−0.5", "0", "0.5", "1"} <= set(shown)
    (hundred,) = re.findall(r'x="([\d.]+)"[^>]*>100</text>', svg)
    assert float(hundred) == pytest.approx(max(points(svg))[0], abs=0.06)


def test_extreme_scores_are_drawn_at_the_end_and_counted() -> None:
    x = np.append(np.linspace(0.0, 1.0, 999), 1e9)
    svg = draw(x, np.linspace(0.0, 1.0, 1000))
    assert "1 beyond an axis, drawn at its end" in svg
    found = points(svg)
    assert len(found) == 1000
    assert max(found)[0] == 640 - 14
    # The others still fill most of the width.
    assert sorted(found)[-2][0] - min(found)[0] > 562 / 2


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        (np.linspace(0, 100, 101), (-2.0, 102.0)),
        (np.full(5, 3.0), (2.5, 3.5)),
        # The middle 98% is 0 to 1, half of it is added, then 2% of the 2 of the span.
        (np.r_[np.zeros(500), np.ones(500), -9.0, 9.0], (-0.54, 1.54)),
        (np.r_[np.zeros(500), np.ones(500), -0.25, 9.0], (-0.285, 1.535)),
    ],
)
def test_axis_range(values: np.ndarray, ends: tuple[float, float]) -> None:
    assert axis_range(values) == pytest.approx(ends)


def test_one_value_and_one_point() -> None:
    assert points(draw([5.0], [1.0])) == [(345.0, 220.0)]
    assert "undefined" in draw([5.0, 5.0], [1.0, 2.0])


def test_names_are_escaped() -> None:
    svg = draw([1.0, 2.0], [1.0, 2.0], score="<b>&", accuracy='"q"')
    assert "<b>" not in svg
    assert "<b>&" in texts(svg)


def test_wrong_arguments() -> None:
    good = Correlation(0.5, 0.4, 0.6, 0.95, 2, 0)
    names = {"score_name": "a", "accuracy_name": "b"}
    with pytest.raises(DataError, match=r"shape \(1,\) and accuracies \(2,\)"):
        scatter([1], [1, 2], good, good, **names)
    with pytest.raises(DataError, match="nothing to draw"):
        scatter([np.nan, 1], [1, np.inf], good, good, **names)
    with pytest.raises(DataError, match="of 2 and 2 architectures, the picture has 3"):
        scatter([1, 2, 3], [1, 2, 3], good, good, **names)


def test_file_stands_alone(tmp_path: Path) -> None:
    svg = draw(np.arange(5.0), np.arange(5.0))
    assert "xmlns" not in svg
    path = tmp_path / "a.svg"
    write_scatter(path, svg)
    root = ET.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"var\(--([\w-]+)\)", text)):
        assert f"--{name}:#" in text
    with pytest.raises(WorkdirError, match=r"cannot write .*no.*a\.svg"):
        write_scatter(tmp_path / "no" / "a.svg", svg)
