"""What the pruning section of the page shows, worked out from prune.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas_jax.report import heatmap, strategies
from nas_jax.report.artefacts import Operation, Pruning
from nas_jax.report.decisions import Decision, decide
from nas_jax.report.formats import score
from nas_jax.report.shapes import shapes_of_pruning

Context = dict[str, Any]

FIRST_WARNINGS = 4
"""Warnings that are always in sight; those after them unfold."""


def pruning_section(pruning: Pruning) -> Context:
    """Sentences, warnings, heat maps and the table of scores."""
    offered = [row for row in pruning.operations if row.offered]
    decisions = decide(offered)
    scales = heatmap.scales_by_round(offered)
    maps = []
    for index, shape in enumerate(shapes_of_pruning(pruning).values()):
        rows = [row for row in offered if row.cell == shape.name]
        picture = heatmap.heat_map(shape, rows, scales, f"hatch{index}")
        kept = sum(row.kept for row in rows)
        maps.append(
            {"name": shape.name, "picture": picture, "kept": kept, "of": len(rows)}
        )
    return {
        "maps": maps,
        "legend": heatmap.legend(scales, "hatch0", offered),
        "meaning": strategies.meaning_of(pruning.strategy),
        "diverging": any(scale.diverging for scale in scales.values()),
        "course": strategies.course(pruning),
        "effort": strategies.effort(pruning),
        "scored_on": strategies.scored_on(pruning),
        "warned": strategies.warned(pruning),
        "warnings": pruning.warnings[:FIRST_WARNINGS],
        "more_warnings": pruning.warnings[FIRST_WARNINGS:],
        "proxies": pruning.proxies,
        "rows": [_table_row(decision, pruning) for decision in decisions],
        "reasons": _reasons(offered),
        "close": sum(d.close for d in decisions),
        "judged": sum(d.margin is not None for d in decisions),
        "repeats": pruning.repeats,
        "rounds": pruning.rounds,
        "rescored": _rescored(pruning),
        "total": pruning.total,
    }


def _rescored(pruning: Pruning) -> bool:
    """Whether an edge was scored in several rounds; else each had one of its own."""
    rounds = {(row.cell, row.edge, row.round) for row in pruning.operations}
    scored = [(cell, edge) for cell, edge, number in rounds if number]
    return len(scored) > len(set(scored))


def _reasons(rows: Sequence[Operation]) -> list[str]:
    """Why operations have no score, each reason with the operations' names."""
    names: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.reason:
            names.setdefault(row.reason, {})[row.name] = None
    return [f"{', '.join(found)} ({reason})" for reason, found in names.items()]


def _table_row(decision: Decision, pruning: Pruning) -> Context:
    row = decision.row
    several = pruning.repeats > 1
    return {
        "cell": row.cell,
        "edge": f"{row.source} → {row.target}",
        "name": row.name,
        "kept": row.kept,
        "close": decision.close,
        "round": row.round or "–",
        "margin": score(decision.margin),
        "figures": [
            {
                "value": score(value),
                "spread": _spread(spread) if several else "",
            }
            for value, spread in [
                (row.score, row.score_std),
                *(
                    (row.scores.get(proxy), row.scores_std.get(proxy))
                    for proxy in pruning.proxies
                ),
            ]
        ],
    }


def _spread(spread: float | None) -> str:
    """Short, because every figure of a wide table has one."""
    if spread is None:
        return ""
    return f"± {spread:.0f}" if spread >= 10 else f"± {score(spread, 1)}"
