"""The pruning section shows what prune.json says, whatever the strategy."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_jax.errors import WorkdirError
from nas_jax.report import summary_text, write_report


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


def table(part: str) -> list[dict[str, str]]:
    """The rows of the table of operations, by column."""
    body = part[part.index('<table class="scores">') :]
    body = body[: body.index("</table>")]
    header = re.findall(r"<th[^>]*>([^<]*)</th>", body)
    rows = re.findall(r"<tr[^>]*>(<td.*?)</tr>", body)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    plain = [[unescape(re.sub("<[^>]+>", "", cell)) for cell in row] for row in cells]
    return [dict(zip(header, row, strict=True)) for row in plain]


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_one_round_has_no_rounds_to_tell_apart(section: Any) -> None:
    part, prune = section()
    assert 'class="round"' not in part and 'class="notice"' not in part
    assert "scored anew" not in part
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


def test_margins_are_those_of_the_file(fake: ModuleType, workdir: Path) -> None:
    path = workdir / "prune.json"
    prune = json.loads(path.read_text(encoding="utf-8"))
    row = next(row for row in prune["operations"] if row["kept"])
    # Nothing that could be computed from the scores.
    row.update(margin=123.0, score_std=124.0)
    path.write_text(json.dumps(prune), encoding="utf-8")
    source = write_report(workdir).read_text(encoding="utf-8")
    assert [r["margin"] for r in table(source)].count("123") == 1
    shown = source[: source.index(">123<")]
    assert shown[shown.rindex("<tr") :].startswith('<tr class=" close">')


def test_several_rounds(section: Any) -> None:
    part, prune = section(strategy="te_nas", keep=1, rounds=2)
    assert "stopped at 1 operation an edge after 2 rounds" in part
    assert "sum of two ranks" in part and "arXiv 2102.11535" in part
    assert "What an edge has left is scored anew in each round." in part
    assert "Colours compare scores of one round only" in part
    assert part.count('class="round"') == 196
    rows = table(part)
    assert [row["round"] for row in rows] == [
        str(row["round"]) if row["round"] else "–" for row in prune["operations"]
    ]
    assert {row["round"] for row in rows} == {"–", "1", "2"}


def test_a_round_for_each_edge_scores_nothing_anew(section: Any) -> None:
    part, prune = section(strategy="zero_cost_pt")
    assert prune["rounds"] == 28 and "after 28 rounds" in part
    assert "scored anew" not in part
    # One repeat has no spread.
    assert "±" not in part and "over the repeats" not in part


def test_budget(section: Any, tmp_path: Path) -> None:
    budget = {
        "budget_bytes": 2 * 2**30,
        "budget_target": "h100",
        "step_bytes": 2072321679,
    }
    part, _ = section(budget=budget)
    assert "fitted 2 GiB on h100, of which it needs 1.93 GiB" in part
    assert "level 0.5" not in part
    text = " ".join(summary_text(tmp_path).split())
    assert "2 GiB on h100: the search step needs 1.93 GiB)" in text


def test_random(section: Any, tmp_path: Path) -> None:
    part, _ = section(strategy="random")
    assert "A score is a random draw" in part
    assert "without a scored network" in part
    assert 'class="rankers"' not in part and "by proxy" not in part
    assert list(table(part)[0])[-1] == "score"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "A random draw kept 112 of 224 operations" in page
    assert "Zero-shot pruning" not in page


def test_nothing_scored(section: Any) -> None:
    part, _ = section(keep=7, rounds=0)
    assert "before anything had to be scored" in part
    assert "Colour scale" not in part
    assert "kept, no score" in part and "dropped, no score" in part
    assert "(the edge keeps all that it has)" in part


def test_warnings_come_before_the_scores(section: Any, tmp_path: Path) -> None:
    warnings = [f"round {i}: <b>nwot</b> is odd" for i in range(1, 7)]
    part, _ = section(warnings=warnings)
    notice = part[part.index('<div class="notice">') :]
    notice = notice[: notice.index("</div>")]
    assert part.index('class="notice"') < part.index("A score is")
    assert "6 warnings to read before the scores are trusted" in notice
    listed = [unescape(text) for text in re.findall(r"<li>(.*?)</li>", notice)]
    assert listed == warnings
    in_sight = notice[: notice.index("<details>")]
    assert in_sight.count("<li>") == 4 and "<summary>2 more" in notice
    assert "6 warnings)" in " ".join(summary_text(tmp_path).split())


def test_few_warnings_are_all_in_sight(section: Any) -> None:
    part, _ = section(warnings=["round 1: nwot is odd"])
    assert "1 warning to read" in part
    notice = part[part.index('<div class="notice">') :]
    assert "<details>" not in notice[: notice.index("</div>")]


def part_of_a_space(prune: dict[str, Any]) -> None:
    """Half of each edge's operations were never there; the others are all kept."""
    for row in prune["operations"]:
        there = row["operation"] in ("skip_connect", "sep_conv_3x3")
        row.update(kept=there, score=None, score_std=None, scores={}, scores_std={})
        row.update(round=0, margin=None, reason="the edge keeps all that it has")
        if not there:
            row.update(offered=False, reason="not there")
    prune.update(kept=56, total=56, kept_fraction=1.0, keep=4, rounds=0)
    said = "nothing was pruned, all 56 operations stay: no edge has more than 4"
    prune.update(warnings=[said])


def test_figures_are_of_what_pruning_started_with(
    fake: ModuleType, workdir: Path
) -> None:
    path = workdir / "prune.json"
    prune = json.loads(path.read_text(encoding="utf-8"))
    part_of_a_space(prune)
    path.write_text(json.dumps(prune), encoding="utf-8")
    page = write_report(workdir).read_text(encoding="utf-8")
    assert "kept 56 of the 56 operations that it started with, a part of" in page
    assert page.count("<span>28 of 28 operations kept</span>") == 2
    assert "All 56 operations" in page and "not there" not in page
    assert len(table(page)) == 56
    assert "<li>nothing was pruned, all 56 operations stay" in page
    text = " ".join(summary_text(workdir).split())
    assert "operations kept 56 of 56 (nothing was pruned; 100% kept" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total": 224}, "total must be the 56 operations listed that pruning started"),
        ({"operations": {"kept": True}}, "kept must be false, because pruning did not"),
    ],
)
def test_figures_of_what_was_not_there_are_refused(
    workdir: Path, change: dict[str, Any], said: str
) -> None:
    path = workdir / "prune.json"
    prune = json.loads(path.read_text(encoding="utf-8"))
    part_of_a_space(prune)
    gone = next(row for row in prune["operations"] if "offered" in row)
    gone.update(change.pop("operations", {}))
    prune.update(change)
    path.write_text(json.dumps(prune), encoding="utf-8")
    with pytest.raises(WorkdirError, match=said):
        write_report(workdir)
