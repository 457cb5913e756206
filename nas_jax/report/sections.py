"""What each section of the page shows, worked out from the artefacts."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nas_jax.report import cells, panels
from nas_jax.report.artefacts import Artefacts
from nas_jax.report.charts import Curve, curve, line_chart
from nas_jax.report.facts import final_accuracy, peaks, stages
from nas_jax.report.formats import change, duration, mebibytes, percent
from nas_jax.report.logs import LogRow, SearchLog
from nas_jax.report.shapes import (
    CellShape,
    Gene,
    check_alphas,
    genotype_genes,
)
from nas_jax.report.style import label_of

Context = dict[str, Any]


def cells_section(
    artefacts: Artefacts,
    genes: Mapping[str, tuple[Gene, ...]],
    shapes: Mapping[str, CellShape],
) -> Context:
    """The drawn cells; each for a wide and for a narrow page."""
    assert artefacts.genotype is not None
    drawings = []
    for name, chosen in genes.items():
        concat = artefacts.genotype.cells[name].concat
        wide = cells.draw_cell(shapes[name], chosen, concat)
        narrow = cells.draw_cell(shapes[name], chosen, concat, downwards=True)
        counted = [label_of(gene.operation) for gene in chosen]
        kinds = {label: counted.count(label) for label in counted}
        drawings.append(
            {
                "name": name,
                "wide": wide,
                "narrow": narrow,
                "counts": ", ".join(f"{n} × {label}" for label, n in kinds.items()),
            }
        )
    used = [gene.operation for chosen in genes.values() for gene in chosen]
    return {
        "drawings": drawings,
        "inputs": max((shape.num_inputs for shape in shapes.values()), default=0),
        "legend": cells.legend(used) if used else "",
        "text": artefacts.genotype.text,
    }


def alphas_section(
    search: SearchLog,
    genes: Mapping[str, tuple[Gene, ...]],
    shapes: Mapping[str, CellShape],
) -> Context:
    """Small multiples of the probabilities of every edge's operations."""
    names = list(search.alphas[0])
    lines = sum(len(edge) for edges in search.alphas[0].values() for edge in edges)
    rows = panels.pick_rows(len(search.rows), lines)
    top = panels.nice_top(panels.highest_probability(search))
    groups = [
        {
            "name": name,
            "panels": panels.alpha_panels(
                shapes[name], search, genes.get(name, ()), top, rows
            ),
        }
        for name in names
    ]
    operations = dict.fromkeys(
        operation
        for name in names
        for index, operation in enumerate(shapes[name].operations)
        if _occurs(search, name, index)
    )
    return {
        "groups": groups,
        "legend": panels.legend(list(operations)),
        "top": percent(top, 0),
        "middle": percent(top / 2, 0),
        "first": f"{search.rows[0].step:,}",
        "last": f"{search.rows[-1].step:,}",
        "drawn": len(rows),
        "logged": len(search.rows),
        "marked": bool(genes),
    }


def _occurs(search: SearchLog, cell: str, index: int) -> bool:
    return any(
        math.isfinite(edge[index]) and edge[index] > 0
        for row in search.alphas
        for edge in row[cell]
    )


def _chart(
    curves: Sequence[Curve | None], title: str, identifier: str, as_percent: bool
) -> list[Context]:
    """One chart as a list, empty when there is nothing to draw."""
    drawn = [item for item in curves if item is not None]
    if not drawn:
        return []
    longest = max(len(item.x) for item in drawn)
    final = [
        {
            "name": item.name,
            "colour": item.colour,
            "value": percent(item.y[-1]) if as_percent else f"{item.y[-1]:.3f}",
        }
        for item in drawn
    ]
    end = max(item.x[-1] for item in drawn)
    label = f"{title} over {end:g} epochs"
    return [
        {
            "title": title,
            "picture": line_chart(drawn, label, identifier, as_percent),
            "final": final,
            "grouped": longest > 240,
        }
    ]


def search_charts(rows: Sequence[LogRow]) -> list[Context]:
    """Loss and accuracy of the search, on its training and validation halves."""
    return [
        *_chart(
            [
                curve(rows, "train_loss", "training", "accent"),
                curve(rows, "valid_loss", "validation", "second"),
            ],
            "Search: loss",
            "search-loss",
            as_percent=False,
        ),
        *_chart(
            [
                curve(rows, "train_accuracy", "training", "accent"),
                curve(rows, "valid_accuracy", "validation", "second"),
            ],
            "Search: accuracy",
            "search-accuracy",
            as_percent=True,
        ),
    ]


def retrain_charts(rows: Sequence[LogRow]) -> list[Context]:
    """Loss and accuracy of the retraining, on training batches and the test set."""
    return [
        *_chart(
            [
                curve(rows, "train_loss", "training", "accent"),
                curve(rows, "test_loss", "test", "second", marked=True),
            ],
            "Retraining: loss",
            "retrain-loss",
            as_percent=False,
        ),
        *_chart(
            [
                curve(rows, "train_accuracy", "training", "accent"),
                curve(rows, "test_accuracy", "test", "second", marked=True),
            ],
            "Retraining: accuracy",
            "retrain-accuracy",
            as_percent=True,
        ),
    ]


def best_note(artefacts: Artefacts) -> str:
    """Whether an earlier epoch did better on the test set than the reported one."""
    tested = curve(artefacts.retrain or (), "test_accuracy", "test", "second")
    reported = final_accuracy(artefacts)
    if tested is None or reported is None:
        return ""
    best = max(tested.y)
    if best <= reported or percent(best) == percent(reported):
        return ""
    epoch = tested.x[tested.y.index(best)]
    return (
        f"The best epoch on the test set was {epoch:g} with {percent(best)}; the "
        f"headline is the final {percent(reported)}, because choosing an epoch by its "
        "test accuracy would flatter the result."
    )


def memory_section(artefacts: Artefacts) -> Context:
    """Two bars and the parts of each figure."""
    memory = artefacts.memory
    assert memory is not None
    before, after = peaks(memory)
    most = max(before, after, 1.0)
    kinds = [key for key in memory.unpruned if key in memory.pruned]
    return {
        "bars": [
            {
                "name": name,
                "value": mebibytes(size),
                "width": f"{100 * size / most:.2f}",
                "class": class_,
            }
            for name, size, class_ in (
                ("Unpruned", before, "before"),
                ("Pruned", after, "after"),
            )
        ],
        "change": change(before, after),
        "target": memory.target,
        "dtype": memory.dtype,
        "sizes": memory.sizes,
        "parts": [
            {
                "name": kind.removesuffix("_bytes"),
                "before": mebibytes(memory.unpruned[kind]),
                "after": mebibytes(memory.pruned[kind]),
                "change": change(memory.unpruned[kind], memory.pruned[kind]),
            }
            for kind in kinds
        ],
    }


def time_section(artefacts: Artefacts) -> Context:
    """The stages with their shares, and the total."""
    times = stages(artefacts)
    return {
        "stages": [
            {
                "name": stage.name,
                "value": duration(stage.seconds),
                "seconds": f"{stage.seconds:,.1f}",
                "width": f"{100 * stage.share:.3f}",
                "share": percent(stage.share),
                "wide": stage.share > 0.12,
                "colour": 3 if stage.name == "other" else min(index, 2),
            }
            for index, stage in enumerate(times)
        ],
        "total": duration(sum(stage.seconds for stage in times)),
        "has_other": any(stage.name == "other" for stage in times),
    }


def reproduce_section(artefacts: Artefacts) -> Context:
    """Command, seeds, environment and config."""
    environment = dict(artefacts.environment or {})
    command = _command(environment)
    earlier = environment.pop("earlier", None)
    config = artefacts.config
    return {
        "command": command,
        "resumed": len(earlier) if isinstance(earlier, list) else 0,
        "seeds": _seeds(artefacts),
        "environment": _flatten(environment),
        "config": ""
        if config is None
        else json.dumps(config, indent=2, ensure_ascii=False),
    }


def _command(environment: dict[str, Any]) -> str:
    """Takes out what was typed and where, as a line for a shell; empty for nothing."""
    command = environment.pop("command", None)
    folder = environment.pop("working_directory", None)
    if isinstance(command, list):
        command = shlex.join(str(part) for part in command)
    if not command:
        return ""
    return f"cd {shlex.quote(str(folder))} && {command}" if folder else str(command)


def _seeds(artefacts: Artefacts) -> list[tuple[str, str]]:
    config = artefacts.config or {}
    seeds: list[tuple[str, str]] = []
    if "seed" in config:
        seeds.append(("run", str(config["seed"])))
    elif artefacts.summary is not None and artefacts.summary.seed is not None:
        seeds.append(("run", str(artefacts.summary.seed)))
    data = config.get("data")
    if isinstance(data, dict) and "seed" in data:
        seeds.append(("data split", str(data["seed"])))
    return seeds


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested objects as rows of (dotted name, text)."""
    if isinstance(value, dict):
        return [
            row
            for key, member in value.items()
            for row in _flatten(member, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list):
        return [(prefix, ", ".join(str(member) for member in value))]
    return [(prefix, "–" if value is None else str(value))]


def searched_cells(
    artefacts: Artefacts, shapes: Mapping[str, CellShape]
) -> dict[str, tuple[Gene, ...]]:
    """The genotype's genes by cell, after checking the artefacts against the cells."""
    if not shapes:
        return {}
    if artefacts.search is not None:
        check_alphas(artefacts.search, dict(shapes))
    if artefacts.genotype is None:
        return {}
    return genotype_genes(artefacts.genotype, dict(shapes))
