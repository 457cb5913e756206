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
    """The dots: lines of no length."""
    found = re.findall(r"M([\d.]+) ([\d.]+)L\1 \2(?=[M\"])", svg)
    return [(float(x), float(y)) for x, y in found]


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter("text")]


def test_points_stand_at_their_values_and_ticks_too() -> None:
    svg = draw([0.0, 100.0, 50.0], [-1.0, 1.0, 0.0])
    (first, middle, last) = sorted(points(svg))
    assert np.allclose(np.add(first, last), np.multiply(middle, 2), atol=0.03)
    assert first[1] > last[1]
    assert {"0", "20", "100", "−1", "−0.5", "0.5", "1"} <= set(texts(svg))
    (hundred,) = re.findall(r'x="([\d.]+)"[^>]*>100</text>', svg)
    assert float(hundred) == pytest.approx(last[0], abs=0.06)


def test_every_finite_pair_is_drawn_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2000))
    x[:3], y[3] = (np.nan, np.inf, -np.inf), np.nan
    svg = draw(x, y)
    assert len(points(svg)) == 1996
    assert any("1,996 architectures, 4 more failed" in text for text in texts(svg))
    assert "failed" not in draw(x[4:], y[4:])


def test_title_has_both_correlations_with_their_intervals() -> None:
    rho = Correlation(0.8114, 0.8034, 0.8195, 0.9, 2, 0)
    tau = Correlation(-0.5, -0.61, -0.4, 0.9, 2, 0)
    names = {"score_name": "nwot", "accuracy_name": "test (%)"}
    svg = scatter([1, 2], [3, 4], rho, tau, **names)
    told = {
        "nwot against test (%)",
        "Spearman ρ = 0.811 [0.803, 0.820], Kendall τ = −0.500 [−0.610, −0.400]",
        "2 architectures, 90% intervals in brackets",
    }
    assert told | {"nwot", "test (%)"} <= set(texts(svg))
    (label,) = re.findall('aria-label="(.*?)"', svg)
    assert all(text in label for text in told)
    assert "2 architectures, an interval needs 4" in draw([1, 2], [3, 4])
    ordered = draw([1, 2, 3, 4], [4, 3, 2, 1])
    assert "Spearman ρ = −1.000 (no spread)" in ordered
    assert "every resample ranks alike" in ordered
    assert "interval" not in draw([5.0, 5.0], [1.0, 2.0])
    nothing = Correlation(np.nan, np.nan, np.nan, 0.95, 2, 0)
    assert interval_text("ρ", nothing) == "ρ undefined"


def test_extreme_scores_are_drawn_at_the_end_and_counted() -> None:
    x = np.append(np.linspace(0.0, 1.0, 999), 1e9)
    svg = draw(x, np.linspace(0.0, 1.0, 1000))
    assert "1 beyond an axis, drawn at its end" in svg
    found = sorted(points(svg))
    assert len(found) == 1000
    # The others still fill most of the width.
    assert found[-2][0] - found[0][0] > (found[-1][0] - found[0][0]) / 2


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


def test_one_point_and_hostile_names() -> None:
    svg = draw([5.0], [1.0], score="<b>& $\\frac{1}{0}$", accuracy='"q"')
    assert len(points(svg)) == 1
    assert "<b>" not in svg
    assert {"<b>& $\\frac{1}{0}$", '"q"'} <= set(texts(svg))


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
    path = tmp_path / "a.svg"
    write_scatter(path, svg)
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = path.read_text(encoding="utf-8")
    for name in set(re.findall(r"var\(--([\w-]+)\)", text)):
        assert f"--{name}:#" in text
    with pytest.raises(WorkdirError, match=r"cannot write .*no.*a\.svg"):
        write_scatter(tmp_path / "no" / "a.svg", svg)
