"""What the page says of pruning is what prune.json says, whatever the strategy."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.artefacts import Budget, Operation, Pruning
from nas_jax.report import summary_text, write_report
from nas_jax.report.artefacts import read_artefacts
from nas_jax.report.heatmap import Scale, robust_scale, scales_by_round, short_score
from nas_jax.report.pruning import course, scored_on, target
from nas_jax.report.style import STEPS


@pytest.fixture
def section(fake: ModuleType, tmp_path: Path) -> Any:
    """The section of a run with given pruning, and its prune.json."""

    def show(**settings: Any) -> tuple[str, dict[str, Any]]:
        fake.fill(tmp_path, steps=2, epochs=1, **settings)
        source = write_report(tmp_path).read_text(encoding="utf-8")
        part = source[source.index('<section id="pruning">') :]
        prune = json.loads((tmp_path / "prune.json").read_text(encoding="utf-8"))
        return part[: part.index("</section>")], prune

    return show


@pytest.fixture
def pruned(fake: ModuleType, tmp_path: Path) -> Any:
    """Reads what pruning by a strategy leaves."""

    def read(**settings: Any) -> Pruning:
        fake.fill(tmp_path, steps=2, epochs=1, **settings)
        found = read_artefacts(tmp_path).pruning
        assert found is not None
        return found

    return read


def plain(html: str) -> str:
    return unescape(re.sub("<[^>]+>", "", html))


def table(part: str) -> list[dict[str, str]]:
    """The rows of the table of operations, by column."""
    body = part[part.index('<table class="scores">') :]
    body = body[: body.index("</table>")]
    header = re.findall(r"<th[^>]*>([^<]*)</th>", body)
    rows = re.findall(r"<tr[^>]*>(<td.*?)</tr>", body)
    cells = [map(plain, re.findall(r"<td[^>]*>(.*?)</td>", row)) for row in rows]
    return [dict(zip(header, row, strict=True)) for row in cells]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


Square = tuple[set[str], str, str]


def squares(part: str) -> dict[tuple[str, str, str], Square]:
    """Classes, text and title of every square by cell, edge and operation."""
    found = {}
    for heat in re.findall(r'(?s)<table class="heat".*?</table>', part):
        (cell,) = re.findall(r"<caption>(\w+)", heat)
        edge_header, *columns = re.findall(r'<th scope="col">(.*?)</th>', heat)
        assert "edge" in edge_header
        for row in re.findall(r"(?s)<tr><th scope=\"row\">.*?</tr>", heat):
            (edge,) = re.findall(r'scope="row">(.*?)</th>', row)
            cells = re.findall(r'<td class="(.*?)" title="(.*?)">(.*?)</td>', row)
            assert len(cells) == len(columns)
            for classes, title, text in cells:
                place, name = title.split(":")[0].split(", ")
                assert place == edge
                found[cell, edge, name] = set(classes.split()), plain(text), title
    return found


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["cell"], f"{row['source']} → {row['target']}", row["operation"]


def test_heat_map_shows_and_says_what_became_of_each_operation(section: Any) -> None:
    part, prune = section()
    found = squares(part)
    assert set(found) == {key(row) for row in prune["operations"]}
    assert part.count("56 of 112 operations kept") == 2
    for row in prune["operations"]:
        classes, text, title = found[key(row)]
        fate, other = ("kept", "dropped") if row["kept"] else ("dropped", "kept")
        # For eyes by border and corner, for ears in words.
        assert fate in classes and other not in classes
        assert text.endswith(fate) and f": {fate}" in title
        assert ("unscored" in classes) == (row["score"] is None)
        if row["score"] is not None:
            shown = number(text.removesuffix(f" {fate}"))
            assert shown == pytest.approx(row["score"], abs=0.00051)
            assert any(name.startswith("heat") for name in classes)


def test_table_has_the_figures_of_the_file(section: Any) -> None:
    part, prune = section()
    assert "small number is the round" not in part and 'class="notice"' not in part
    rows = table(part)
    columns = ["cell", "edge", "operation", "fate", "margin", "score"]
    assert list(rows[0]) == columns + prune["proxies"]
    for shown, row in zip(rows, prune["operations"], strict=True):
        assert shown["operation"] == row["operation"]
        if row["score"] is None:
            assert {shown[name] for name in prune["proxies"]} == {"–"}
            continue
        sign = 1 if row["kept"] else -1
        assert number(shown["margin"]) == pytest.approx(sign * row["margin"], rel=0.01)
        for proxy in prune["proxies"]:
            value, spread = map(number, shown[proxy].split(" ± "))
            assert value == pytest.approx(row["scores"][proxy], rel=0.01)
            assert spread == pytest.approx(row["scores_std"][proxy], rel=0.5)


def test_several_rounds(section: Any) -> None:
    part, prune = section(strategy="te_nas", keep=1, rounds=2)
    assert "stopped at 1 operation an edge after 2 rounds" in part
    assert "sum of two ranks" in part and "arXiv 2102.11535" in part
    assert "What an edge has left is scored anew in each round." in part
    assert "Colours compare scores of one round only" in part
    assert "lowest of its round" in part and "≥" not in part
    found, rows = squares(part), table(part)
    for shown, row in zip(rows, prune["operations"], strict=True):
        assert shown["round"] == (str(row["round"]) if row["round"] else "–")
        _, text, title = found[key(row)]
        if row["round"]:
            assert text.endswith(f" round {row['round']}")
            assert f"score in round {row['round']}" in title
    assert {row["round"] for row in rows} == {"–", "1", "2"}


def test_a_round_for_each_edge_scores_nothing_anew(section: Any) -> None:
    part, prune = section(strategy="zero_cost_pt")
    assert prune["rounds"] == 28 and "after 28 rounds" in part
    assert "scored anew" not in part
    # One repeat has no spread.
    assert "±" not in part and "over the repeats" not in part


def test_random(section: Any, tmp_path: Path) -> None:
    part, _ = section(strategy="random")
    assert "A score is a random draw" in part
    assert "without a scored network" in part
    assert 'class="rankers"' not in part and "by proxy" not in part
    assert "Cost of pruning: total 0.2 s." in part
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "A random draw kept 112 of 224 operations" in page
    assert "Zero-shot pruning" not in page


def test_warnings_come_before_the_scores(section: Any, tmp_path: Path) -> None:
    warnings = [f"round {i}: <b>nwot</b> is odd" for i in range(1, 7)]
    part, _ = section(warnings=warnings)
    notice = part[part.index('<div class="notice">') :]
    notice = notice[: notice.index("</div>")]
    assert part.index('class="notice"') < part.index("A score is")
    assert "6 warnings to read before the scores are trusted" in notice
    assert [
        unescape(text) for text in re.findall(r"<li>(.*?)</li>", notice)
    ] == warnings
    # Four are in sight.
    assert notice[: notice.index("<details>")].count("<li>") == 4
    assert "6 warnings)" in " ".join(summary_text(tmp_path).split())


def part_of_a_space(path: Path) -> dict[str, Any]:
    """Half of each edge's operations were never there; the others are all kept."""
    prune = json.loads(path.read_text(encoding="utf-8"))
    for row in prune["operations"]:
        there = row["operation"] in ("skip_connect", "sep_conv_3x3")
        row.update(kept=there, score=None, score_std=None, scores={}, scores_std={})
        row.update(round=0, margin=None, reason="the edge keeps all that it has")
        if not there:
            row.update(offered=False, reason="not there")
    prune.update(kept=56, total=56, kept_fraction=1.0, keep=4, rounds=0)
    return prune


def test_figures_are_of_what_pruning_started_with(workdir: Path) -> None:
    path = workdir / "prune.json"
    path.write_text(json.dumps(part_of_a_space(path)), encoding="utf-8")
    page = write_report(workdir).read_text(encoding="utf-8")
    assert "kept 56 of the 56 operations that it started with, a part of" in page
    assert page.count("28 of 28 operations kept") == 2
    maps = page[page.index('<table class="heat"') : page.index("scores by proxy")]
    assert maps.count("<td></td>") == 28 * 6
    assert "All 56 operations" in page and "not there" not in page
    assert len(table(page)) == 56
    text = " ".join(summary_text(workdir).split())
    assert "operations kept 56 of 56 (nothing was pruned; 100% kept" in text


def test_stops(pruned: Any) -> None:
    level = pruned()
    assert target(level) == "level 0.5"
    assert "after 1 round and 591 scored networks in 3 repeats." in course(level)
    keep = dataclasses.replace(level, keep=1, rounds=2, repeats=1, min_parametric=2)
    assert target(keep) == "1 operation an edge"
    assert "after 2 rounds and 591 scored networks. Each node kept 2" in course(keep)
    # A budget goes before the other two.
    budget = dataclasses.replace(keep, budget=Budget(512 << 20, "a100", 100 << 20))
    assert target(budget) == "512 MiB on a100: the search step needs 100 MiB"
    assert "fitted 512 MiB on a100, of which it needs 100 MiB, after" in course(budget)
    at_once = dataclasses.replace(budget, rounds=0, candidates=0)
    assert "100 MiB, before anything had to be scored." in course(at_once)


def test_rankers_of_one_network_and_batch_share_a_row(pruned: Any) -> None:
    weights = "initialisation kaiming normal fan out"
    assert scored_on(pruned(strategy="ete_nas")) == [
        (
            "nngp_frobenius, nngp_mean",
            f"thin network, 1 channel, stem, {weights}",
            "28 images",
        ),
        (
            "thin_regions_100",
            f"thin network, 1 channel, no stem, {weights}",
            "256 images, running norm statistics",
        ),
        ("nwot", "supernet, 8 channels, 3 layers", "32 images"),
    ]


def operation(score: float, round: int = 1) -> Operation:
    return Operation("normal", 0, 0, 2, "op", True, score, 0.0, {}, {}, round, None, "")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_colour_steps_are_in_range_and_follow_the_order(scores: list[float]) -> None:
    scale = robust_scale(scores)
    steps = [scale.step(score) for score in sorted(scores)]
    assert steps == sorted(steps)
    assert 0 <= steps[0] and steps[-1] <= 2 * STEPS
    if scale.diverging:
        assert scale.step(0.0) == STEPS


def test_colours_compare_within_a_round_and_signs_across_all() -> None:
    rows = [operation(float(score), round=1) for score in range(101)]
    rows += [operation(float(score), round=2) for score in range(11)]
    # The middle 96%: 2 of 101 scores are cut at either end, and none of 11.
    assert scales_by_round(rows) == {1: Scale(2.0, 98.0), 2: Scale(0.0, 10.0)}
    rows = [operation(score, round=1) for score in (-1.0, -3.0)]
    rows += [operation(score, round=2) for score in (2.0, 1.0)]
    assert scales_by_round(rows) == {1: Scale(-3.0, 3.0), 2: Scale(-2.0, 2.0)}


@pytest.mark.parametrize(
    ("score", "reach", "text"),
    [
        (0.0361, 0.077, "0.036"),
        (-0.0001, 0.077, "0.000"),
        (183.0, 391.0, "183"),
        (-1234567.0, 5.0, "−1e6"),
        (3.1e-7, 4e-7, "3e-7".replace("-", "−")),
        (0.0, 0.0, "0"),
    ],
)
def test_scores_fit_their_squares(score: float, reach: float, text: str) -> None:
    assert short_score(score, reach) == text
