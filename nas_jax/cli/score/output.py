"""What `nas-jax score` tells: tables, how scores rank, and pictures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from nas_jax.cli.score.results import Results, Row
from nas_jax.cli.tables import aligned
from nas_jax.errors import WorkdirError
from nas_jax.metrics import Progress, format_bytes, format_duration
from nas_jax.proxies import get_proxy
from nas_jax.tabular import FEWEST, Correlation, kendall, spearman

SHOWN = 20
"""Rows of the table of scores; the files have them all."""

_LACKING = {
    "undefined": "no two architectures are used, or all have the same value",
    "too few": f"an interval needs {FEWEST} architectures",
    "no spread": "every resample ranks alike, which does not tell how sure that is",
}

Scores = Mapping[str, np.ndarray]
Comparison = Mapping[str, Mapping[str, Any]]
"""By proxy: `higher_is_better`, and the correlations `spearman` and `kendall`."""


def report(asked: Any, results: Results, accuracies: np.ndarray | None) -> None:
    """What is known once all architectures are scored: printed, drawn, written."""
    scores = results.scores()
    if not asked.json and not asked.csv:
        print(scores_table(results.rows, list(scores)))
    for line in failure_lines(results.rows, list(scores)):
        print(line)
    if accuracies is not None:
        compared = compare(scores, accuracies)
        missing = int(np.sum(~np.isfinite(accuracies)))
        results.header["correlations"] = {
            "table": asked.table,
            "target": asked.target,
            "missing": missing,
            "proxies": compared,
        }
        print(correlation_table(compared, missing, asked.target))
        if asked.plots:
            draw(Path(asked.plots), scores, accuracies, compared, asked.target)
    results.write()
    print(summary(results.header, len(results.rows)))


def compare(scores: Scores, accuracies: np.ndarray) -> Comparison:
    """Rank correlations of every proxy's scores `[N]` with accuracies `[N]`.

    Scores are taken as they are: where lower is better, a good proxy's correlation is
    negative. Architectures without an accuracy are left out.
    """
    there = np.isfinite(accuracies)
    compared = {}
    # Intervals for a whole space take seconds a proxy.
    progress = Progress(len(scores), "correlate: proxy", unit="proxies")
    for number, (name, column) in enumerate(scores.items(), 1):
        compared[name] = {
            "higher_is_better": get_proxy(name).higher_is_better,
            "spearman": spearman(column[there], accuracies[there]),
            "kendall": kendall(column[there], accuracies[there]),
        }
        progress.update(number)
    return compared


def correlation_table(compared: Comparison, missing: int, target: str) -> str:
    """Correlations with their intervals, a line for each proxy."""
    cells = [["proxy", "better", "Spearman", "Kendall", "used", "failed"]]
    found: list[Correlation] = []
    for name, told in compared.items():
        better = "higher" if told["higher_is_better"] else "lower"
        both = [told["spearman"], told["kendall"]]
        counts = [str(both[0].used), str(both[0].failed)]
        cells.append([name, better, *map(_correlation_text, both), *counts])
        found += both
    lacking = {one.lacks_interval for one in found}
    notes = [f"rank correlation with {target}"]
    if "" in lacking:
        notes[0] += f", {100 * found[0].level:g}% intervals in brackets"
    if missing:
        notes.append(f"{missing} architectures have no {target} and are out")
    notes += [f"{name}: {why}" for name, why in _LACKING.items() if name in lacking]
    return "\n".join([aligned(cells, ("proxy", "better")), *notes])


def draw(
    folder: Path,
    scores: Scores,
    accuracies: np.ndarray,
    compared: Comparison,
    target: str,
) -> None:
    """Writes `PROXY.svg`, scores against accuracies, for every proxy with any.

    Raises:
        WorkdirError: The folder or a file in it cannot be written.
    """
    # Half a second, which a run without pictures need not wait for.
    from nas_jax.report.scatter import scatter, write_scatter

    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WorkdirError(
            f"cannot create --plots={folder}: {error.strerror}; give a folder that you "
            "may write to"
        ) from error
    there = np.isfinite(accuracies)
    for name, column in scores.items():
        rho, tau = compared[name]["spearman"], compared[name]["kendall"]
        if not rho.used:
            logging.warning("no picture of %s: it failed everywhere", name)
            continue
        both = column[there], accuracies[there]
        picture = scatter(*both, rho, tau, score_name=name, accuracy_name=target)
        write_scatter(folder / f"{name}.svg", picture)


def scores_table(rows: Sequence[Row], proxies: Sequence[str]) -> str:
    """The first rows, and how many more there are."""
    cells = [["", *proxies, "architecture"]]
    for number, row in enumerate(rows[:SHOWN], 1):
        values = [row["scores"][name] for name in proxies]
        texts = ["failed" if v is None else f"{v:.5g}" for v in values]
        cells.append([str(number), *texts, row["architecture"]])
    table, more = aligned(cells, ("architecture",)), len(rows) - SHOWN
    if more <= 0:
        return table
    return f"{table}\nand {more} more; --json=FILE or --csv=FILE keeps them all"


def failure_lines(rows: Sequence[Row], proxies: Sequence[str]) -> list[str]:
    """How many scores of each proxy failed, and why."""
    lines = []
    for name in proxies:
        reasons = Counter(row["failed"][name] for row in rows if name in row["failed"])
        lines += [
            f"{name} failed on {count} of {len(rows)}: {reason}"
            for reason, count in reasons.items()
        ]
    return lines


def summary(header: Mapping[str, Any], count: int) -> str:
    """What it took, on one line."""
    parts = [f"{count} architectures"]
    if header["archs_per_second"] is not None:
        parts += [
            f"{header['archs_per_second']:.3g} a second",
            f"compiled in {format_duration(header['compile_seconds'])}",
            f"scored in {format_duration(header['score_seconds'])}",
            f"peak memory {format_bytes(header['peak_memory_bytes'])}",
        ]
    return ", ".join(parts)


def _correlation_text(found: Correlation) -> str:
    lacking = found.lacks_interval
    if not np.isfinite(found.value):
        return lacking
    interval = f"({lacking})" if lacking else f"[{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f} {interval}"
