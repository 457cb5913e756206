"""The page: what each section shows, and the one HTML file that it becomes."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

import nas_jax
from nas_jax.report import charts, formats
from nas_jax.report.artefacts import Artefacts, read_artefacts
from nas_jax.report.charts import curve
from nas_jax.report.drawing import draw_cell
from nas_jax.report.drawing.shapes import (
    Gene,
    check_alphas,
    find_shapes,
    genotype_genes,
)
from nas_jax.report.formats import percent
from nas_jax.report.logs import LogRow, SearchLog
from nas_jax.report.pruning import is_close, meaning_of, pruning_section, signed_margin
from nas_jax.report.style import KINDS, STEPS, kind_of, label_of, palette_css
from nas_jax.report.text import final_accuracy, headline, peaks, run_name, stages
from nas_jax.spaces import CellSpec, SearchSpace

Genes = Mapping[str, tuple[Gene, ...]]
Shapes = Mapping[str, CellSpec]
Context = dict[str, Any]


def _lead(artefacts: Artefacts) -> str:
    """The result in one or two sentences."""
    sentences = []
    pruning = artefacts.pruning
    if pruning is not None:
        how = f"Zero-shot pruning ({meaning_of(pruning)['title']})"
        if pruning.strategy == "random":
            how = "A random draw"
        offered = f"{pruning.total} operations of"
        if pruning.total < len(pruning.operations):
            offered = f"the {pruning.total} operations that it started with, a part of"
        chosen = artefacts.genotype is not None
        then = ", and one-shot search chose the cells from them" if chosen else ""
        sentences.append(
            f"{how} kept {pruning.kept} of {offered} the {pruning.space} space{then}."
        )
    accuracy = final_accuracy(artefacts)
    if accuracy is not None:
        number = artefacts.summary.num_test if artefacts.summary else None
        images = f"{number:,} test images" if number else "test images"
        sentences.append(
            "Trained from scratch, the network found classifies "
            f"{percent(accuracy)} of {images} correctly."
        )
    return " ".join(sentences)


def _cells(artefacts: Artefacts, genes: Genes, shapes: Shapes) -> Context:
    """The drawn cells; each for a wide and for a narrow page."""
    assert artefacts.genotype is not None
    drawings = []
    for name, chosen in genes.items():
        concat = artefacts.genotype.cells[name].concat
        counted = [label_of(gene.operation) for gene in chosen]
        kinds = {label: counted.count(label) for label in counted}
        drawings.append(
            {
                "name": name,
                "wide": draw_cell(shapes[name], chosen, concat),
                "narrow": draw_cell(shapes[name], chosen, concat, downwards=True),
                "counts": ", ".join(f"{n} × {label}" for label, n in kinds.items()),
            }
        )
    used = {kind_of(gene.operation) for chosen in genes.values() for gene in chosen}
    return {
        "drawings": drawings,
        "inputs": max((shape.num_inputs for shape in shapes.values()), default=0),
        "kinds": [kind for kind in KINDS if kind in used],
    }


def _alphas(search: SearchLog, genes: Genes, shapes: Shapes) -> Context:
    """Small multiples of the probabilities of every edge's operations."""
    first = search.alphas[0]
    lines = sum(len(edge) for edges in first.values() for edge in edges)
    rows = charts.pick_rows(len(search.rows), lines)
    groups = {}
    for number, name in enumerate(first):
        chosen = {(g.source, g.target): g.operation for g in genes.get(name, ())}
        groups[name] = charts.alpha_panels(
            shapes[name], search, chosen, rows, f"alphas{number}"
        )
    operations: list[str] = []
    for name in first:
        logged = np.array([row[name] for row in search.alphas])
        ops = enumerate(shapes[name].ops)
        operations += [op for i, op in ops if charts.is_live(logged[..., i])]
    operations = list(dict.fromkeys(operations))
    return {
        "groups": groups,
        "legend": {
            name: charts.line_sample(name, operations, f"line{index}")
            for index, name in enumerate(operations)
        },
        "moved": max(panel.moved for found in groups.values() for panel in found),
        "first": search.rows[0].step,
        "last": search.rows[-1].step,
        "drawn": len(rows),
        "logged": len(search.rows),
        "marked": bool(genes),
    }


def _charts(stage: str, rows: Sequence[LogRow], against: str) -> list[Context]:
    """Loss and accuracy of a stage, in training and in the test `against` it."""
    found = []
    key = "test" if against == "test" else "valid"
    for figure in ("loss", "accuracy"):
        logged = (
            curve(rows, f"train_{figure}", "training", "accent"),
            curve(rows, f"{key}_{figure}", against, "second", against == "test"),
        )
        curves = [item for item in logged if item is not None]
        if not curves:
            continue
        title = f"{stage}: {figure}"
        as_percent = figure == "accuracy"
        finals = [
            (c, percent(c.y[-1]) if as_percent else f"{c.y[-1]:.3f}") for c in curves
        ]
        ending = ", ".join(f"{item.name} {value}" for item, value in finals)
        end = max(item.x[-1] for item in curves)
        label = f"{title} over {end:g} epochs; at the end {ending}"
        identifier = f"{stage}-{figure}".lower()
        picture = charts.line_chart(curves, label, identifier, as_percent)
        found.append(
            {
                "title": title,
                "picture": picture,
                "finals": finals,
                "grouped": any(item.grouped for item in curves),
            }
        )
    return found


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


def _reproduce(artefacts: Artefacts) -> Context:
    """Command, as a line for a shell, seeds, environment and config."""
    environment, config = dict(artefacts.environment or {}), artefacts.config
    command = environment.pop("command", None)
    folder = environment.pop("working_directory", None)
    earlier = environment.pop("earlier", None)
    if isinstance(command, list):
        command = shlex.join(map(str, command))
    if command and folder:
        command = f"cd {shlex.quote(str(folder))} && {command}"
    return {
        "command": str(command or ""),
        "resumed": len(earlier) if isinstance(earlier, list) else 0,
        "seeds": _seeds(artefacts),
        "environment": _flatten(environment),
        "config": config and json.dumps(config, indent=2, ensure_ascii=False),
    }


def _seeds(artefacts: Artefacts) -> dict[str, Any]:
    config = artefacts.config or {}
    summary, data = artefacts.summary, config.get("data")
    seeds = {
        "run": config.get("seed", summary.seed if summary else None),
        "data split": data.get("seed") if isinstance(data, dict) else None,
    }
    return {label: seed for label, seed in seeds.items() if seed is not None}


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


def unbroken(text: str) -> Markup:
    """The text as HTML in which no line ends inside the dashes of a flag."""
    flag = r'<span class="flag">\g<0></span>'
    return Markup(re.sub(r"(?<!\S)--\S+", flag, str(escape(text))))


def _context(artefacts: Artefacts, space: SearchSpace | None) -> Context:
    shapes = find_shapes(artefacts, space)
    search, retrain = artefacts.search, artefacts.retrain
    genes: Genes = {}
    if search and shapes:
        check_alphas(search, shapes)
    if artefacts.genotype and shapes:
        genes = genotype_genes(artefacts.genotype, shapes)
    return {
        "name": run_name(artefacts),
        "lead": _lead(artefacts),
        "notes": artefacts.notes,
        "facts": headline(artefacts),
        "version": nas_jax.__version__,
        "palette": Markup(palette_css()),
        "kinds": KINDS,
        "heat_steps": range(2 * STEPS + 1),
        "prune": artefacts.pruning,
        "pruning": artefacts.pruning and pruning_section(artefacts.pruning),
        "genotype": artefacts.genotype,
        "cells": _cells(artefacts, genes, shapes) if genes else None,
        "searched": search is not None,
        "alphas": _alphas(search, genes, shapes) if search and shapes else None,
        "search_charts": _charts("Search", search.rows, "validation") if search else [],
        "retrain_charts": _charts("Retraining", retrain, "test") if retrain else [],
        "best_note": best_note(artefacts),
        "memory": artefacts.memory,
        "peaks": artefacts.memory and peaks(artefacts.memory),
        "stages": stages(artefacts),
        "reproduce": _reproduce(artefacts),
    }


def render(artefacts: Artefacts, space: SearchSpace | None = None) -> str:
    """The page as one self-contained HTML text; the same artefacts, the same text."""
    return _template().render(_context(artefacts, space)) + "\n"


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["change"] = formats.change
    words = (formats.mebibytes, formats.duration, formats.percent, formats.score)
    rules = (label_of, is_close, signed_margin, unbroken)
    environment.filters |= {rule.__name__: rule for rule in (*words, *rules)}
    template = resources.files("nas_jax.report").joinpath("template.html")
    return environment.from_string(template.read_text(encoding="utf-8"))


def write_report(workdir: Path, space: SearchSpace | None = None) -> Path:
    """Writes `report.html` from the artefacts in a working directory.

    A missing artefact leaves its section out with a sentence on how to make it. The
    `space` is needed if it is neither spelt out in prune.json nor registered.

    Raises:
      WorkdirError: the directory does not exist, an artefact is malformed, or
        artefacts do not belong together; nothing is written then.
    """
    text = render(read_artefacts(Path(workdir)), space)
    path = Path(workdir) / "report.html"
    temporary = path.with_name(f".report.html.{os.getpid()}.tmp")
    try:
        # A lone surrogate in an artefact has no UTF-8 form; it becomes "?".
        temporary.write_bytes(text.encode("utf-8", "replace"))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
