"""What pruning did: in words, as heat maps, and how clear its decisions were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas_jax.artefacts import Operation, Pruning
from nas_jax.report import heatmap
from nas_jax.report.drawing.shapes import shapes_of_pruning
from nas_jax.report.formats import duration, gibibytes, mebibytes, plural
from nas_jax.report.formats import score as show


def meaning_of(pruning: Pruning) -> dict[str, str]:
    """What the strategy said of its numbers; little where prune.json does not say."""
    name = pruning.strategy
    unknown = {
        "title": name,
        "meaning": f"A score is what the strategy {name} gives an operation.",
        "part": "its own figure",
        "below_zero": "",
        "averaged": "Scores",
    }
    return unknown | (pruning.meaning or {})


def target(pruning: Pruning) -> str:
    """Where pruning was to stop: `level 0.5`, `4 operations an edge`, `2 GiB on h100`.

    With a budget, also what the search step needs now.
    """
    if pruning.budget is not None:
        allowed, needed = _bytes(pruning)
        return f"{allowed} on {pruning.budget.target}: the search step needs {needed}"
    if pruning.keep is not None:
        return f"{plural(pruning.keep, 'operation')} an edge"
    assert pruning.level is not None, "the reader asks for one of the three"
    return f"level {show(pruning.level)}"


def course(pruning: Pruning) -> str:
    """The strategy, where it stopped and after what, in one or two sentences."""
    if pruning.budget is not None:
        allowed, needed = _bytes(pruning)
        stop = (
            f"when the search step fitted {allowed} on {pruning.budget.target}, of "
            f"which it needs {needed},"
        )
    else:
        stop = "at " + target(pruning)
        if pruning.keep is None:
            stop += ", the share of each edge's operations that goes,"
    rest = ""
    if pruning.min_parametric:
        rest = (
            f" Each node kept {plural(pruning.min_parametric, 'convolution')} or more "
            "on its incoming edges, whatever the scores."
        )
    title = meaning_of(pruning)["title"]
    return f"Pruning by {title} stopped {stop} {_rounds(pruning)}.{rest}"


def _rounds(pruning: Pruning) -> str:
    if not pruning.rounds:
        return "before anything had to be scored"
    rounds = plural(pruning.rounds, "round")
    if not pruning.candidates:
        return f"after {rounds} without a scored network"
    networks = plural(pruning.candidates, "scored network")
    again = f" in {pruning.repeats} repeats" if pruning.repeats > 1 else ""
    return f"after {rounds} and {networks}{again}"


def _bytes(pruning: Pruning) -> tuple[str, str]:
    """What the budget allows and what is needed of it."""
    assert pruning.budget is not None
    return gibibytes(pruning.budget.allowed), gibibytes(pruning.budget.needed)


def _effort(pruning: Pruning) -> str:
    seconds = pruning.seconds.items()
    parts = [f"{name} {duration(value)}" for name, value in seconds if value]
    if pruning.peak_memory_bytes:
        parts.append(f"peak memory {mebibytes(pruning.peak_memory_bytes)}")
    return ", ".join(parts)


def warned(pruning: Pruning) -> str:
    """How many warnings there are; empty for none."""
    return plural(len(pruning.warnings), "warning") if pruning.warnings else ""


def scored_on(pruning: Pruning) -> list[tuple[str, str, str]]:
    """(proxies, network, batch): rankers of one network, batch and norm share a row."""
    rows: dict[tuple[str, str], list[str]] = {}
    for ranker in pruning.rankers:
        kind = "supernet" if "layers" in ranker.network else "thin network"
        sizes = [_field(name, value) for name, value in ranker.network.items()]
        norm = f", {ranker.norm} norm statistics" if ranker.norm else ""
        place = ", ".join([kind, *sizes]), plural(ranker.batch_size, "image") + norm
        rows.setdefault(place, []).append(ranker.proxy)
    return [(", ".join(proxies), *place) for place, proxies in rows.items()]


def _field(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, int) and words.endswith("s"):
        return plural(value, words.removesuffix("s"))
    return f"{words} {str(value).replace('_', ' ')}"


def pruning_section(pruning: Pruning) -> dict[str, Any]:
    """What the page's section of pruning shows beside prune.json's own fields."""
    offered = [row for row in pruning.operations if row.offered]
    scales = heatmap.scales_by_round(offered)
    margins = [row for row in offered if row.margin is not None]
    return {
        "maps": [
            heatmap.heat_map(shape, offered, scales)
            for shape in shapes_of_pruning(pruning).values()
        ],
        "legend": heatmap.legend(scales, offered),
        "meaning": meaning_of(pruning),
        "diverging": any(scale.diverging for scale in scales.values()),
        "course": course(pruning),
        "effort": _effort(pruning),
        "scored_on": scored_on(pruning),
        "warned": warned(pruning),
        "rows": [(row, _figures(row, pruning)) for row in offered],
        "reasons": _reasons(offered),
        "close": sum(is_close(row) for row in margins),
        "judged": len(margins),
        "rescored": _rescored(pruning),
    }


def is_close(row: Operation) -> bool:
    """Whether the margin to the cut is smaller than the score's spread over repeats."""
    return row.margin is not None and row.margin < (row.score_std or 0.0)


def signed_margin(row: Operation) -> float | None:
    """The margin with the sign of the fate: positive for an operation that was kept."""
    return row.margin if row.kept or row.margin is None else -row.margin


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


def _figures(row: Operation, pruning: Pruning) -> list[tuple[str, str]]:
    """The score and each proxy's own figure, with the spread if there are repeats."""
    figures = [(row.score, row.score_std)]
    figures += [(row.scores.get(p), row.scores_std.get(p)) for p in pruning.proxies]
    several = pruning.repeats > 1
    return [(show(value), _spread(s) if several else "") for value, s in figures]


def _spread(spread: float | None) -> str:
    """Short, because every figure of a wide table has one."""
    if spread is None:
        return ""
    return f"± {spread:.0f}" if spread >= 10 else f"± {show(spread, 1)}"
