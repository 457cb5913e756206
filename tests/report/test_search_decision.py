"""How much the search decided, on the page and in the summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nas_jax.errors import WorkdirError
from nas_jax.report import summary_text, write_report

TEXT = "3 of 16 genes won by more than chance gives."
WARNING = f"The genotype is little more than a draw. {TEXT} Search longer & <better>."


@pytest.fixture
def say(workdir: Path) -> Any:
    """Writes a decision; returns the page and the summary on one line."""

    def write(**decision: Any) -> tuple[str, str]:
        path = workdir / "genotype.json"
        genotype = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**genotype, "decision": decision}), "utf-8")
        page = write_report(workdir).read_text(encoding="utf-8")
        return page, " ".join(summary_text(workdir).split())

    return write


def test_a_warning_stands_out_in_both(say: Any) -> None:
    page, summary = say(decided=3, genes=16, text=TEXT, warning=WARNING)
    escaped = WARNING.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert any(part.count(escaped) for part in page.split('class="notice"')[1:])
    assert ">3 of 16<" in page
    assert "genes decided 3 of 16 (mostly chance, see Cells found)" in summary
    assert f"warning {WARNING}" in summary


def test_without_a_warning_the_figures_are_there(say: Any) -> None:
    page, summary = say(decided=14, genes=16, text=TEXT, warning="")
    assert f"<p>{TEXT}</p>" in page
    assert "genes decided 14 of 16 (more than chance)" in summary
    assert "warning" not in summary


def test_nothing_to_decide_is_no_figure(say: Any) -> None:
    page, summary = say(decided=0, genes=0, text="Nothing to decide.", warning="")
    assert "<p>Nothing to decide.</p>" in page
    assert "genes decided" not in summary


def test_a_genotype_without_a_decision(workdir: Path) -> None:
    assert "genes decided" not in summary_text(workdir)


def test_a_malformed_decision_is_named(say: Any) -> None:
    with pytest.raises(WorkdirError, match="genotype.json.*decision.decided"):
        say(decided="many", genes=16, text=TEXT, warning="")
