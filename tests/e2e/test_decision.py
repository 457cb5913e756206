"""A search of few steps says everywhere that it decided little."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from nas_jax.report import summary_text

STEPS, EPOCHS = "these 4 steps", "--config.search.epochs (1)"
SHORT = (
    "--config.search.epochs=1",
    "--config.retrain.epochs=1",
    "--config.prune.strategy=random",
    "--config.prune.proxies=()",
)


def decision(workdir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workdir / "genotype.json").read_text())
    figures: dict[str, Any] = found["decision"]
    return figures


@pytest.fixture(scope="module")
def short(cli, tiny, pools, tmp_path_factory) -> Path:
    """A whole run with a search of four steps, after a search in its own process."""
    workdir = tmp_path_factory.mktemp("short") / "run"
    flags = (tiny, pools, f"--workdir={workdir}", *SHORT, "--config.prune.level=0.5")
    assert cli.main("prune", *flags) == 0
    code, out, err = cli.start("search", *flags)
    assert code == 0, err
    (workdir.parent / "out.txt").write_text(out)
    (workdir.parent / "err.txt").write_text(err)
    assert cli.main("run", *flags) == 0
    return workdir


def test_figures_of_a_search_that_decided(reference: Path) -> None:
    # Forty steps on patterns made to be easy; two operations on each of four edges.
    found = decision(reference)
    assert found["warning"] == ""
    assert found["genes"] == 4 and found["decided"] > 2
    assert f"{found['decided']} of 4 genes won by more than chance" in found["text"]
    assert found["even"] == 0.5
    assert 0.5 < found["largest"] < 0.52
    assert 1e-4 < found["noise"] < 3e-3
    # Forty steps of about the learning rate, 3e-4, at most.
    assert 2 * found["walk"] < found["moved"] < 0.02
    assert "warning" not in summary_text(reference)
    page = html.unescape((reference / "report.html").read_text(encoding="utf-8"))
    assert found["text"] in page and "little more than a draw" not in page


def test_search_warns(short: Path) -> None:
    found = decision(short)
    assert found["decided"] <= 2
    warning = found["warning"]
    for part in (found["text"], STEPS, EPOCHS, "--config.search.batch_size (8)"):
        assert part in warning
    genotype, printed = (short.parent / "out.txt").read_text().splitlines()
    assert genotype.startswith("Genotype(") and printed == warning
    err = (short.parent / "err.txt").read_text()
    (line,) = (line for line in err.splitlines() if warning in line)
    assert line.startswith("W")


def test_run_and_report_pass_the_warning_on(short: Path) -> None:
    found = decision(short)
    summary = " ".join(summary_text(short).split())
    assert f"genes decided {found['decided']} of 4 (mostly chance" in summary
    assert f"warning {found['warning']}" in summary
    page = (short / "report.html").read_text(encoding="utf-8")
    assert found["warning"] in html.unescape(re.sub("<[^>]*>", "", page))
    assert f">{found['decided']} of 4<" in page


def test_a_finished_search_says_it_again(
    cli, tiny, pools, short, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = (tiny, pools, f"--workdir={short}", *SHORT, "--config.prune.level=0.5")
    assert cli.main("search", *flags) == 0
    assert capfd.readouterr().out == (short.parent / "out.txt").read_text()
