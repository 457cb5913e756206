"""Assembles the sections into one HTML page and writes it."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

import nas_jax
from nas_jax.report import sections
from nas_jax.report.artefacts import Artefacts, Pruning, read_artefacts
from nas_jax.report.facts import final_accuracy, headline, run_name, stages
from nas_jax.report.formats import percent
from nas_jax.report.pruning_section import pruning_section
from nas_jax.report.shapes import find_shapes
from nas_jax.report.strategies import meaning_of
from nas_jax.report.style import KINDS, palette_css
from nas_jax.spaces import SearchSpace


def _offered(pruning: Pruning) -> str:
    """What pruning started with: a whole space or a part of one."""
    if pruning.total == len(pruning.operations):
        return f"{pruning.total} operations of the {pruning.space} space"
    return (
        f"the {pruning.total} operations that it started with, a part of the "
        f"{pruning.space} space"
    )


def _lead(artefacts: Artefacts) -> str:
    """The result in one or two sentences."""
    sentences = []
    pruning = artefacts.pruning
    if pruning is not None:
        how = f"Zero-shot pruning ({meaning_of(pruning.strategy).title})"
        if pruning.strategy == "random":
            how = "A random draw"
        sentences.append(
            f"{how} kept {pruning.kept} of {_offered(pruning)}"
            + (
                ", and one-shot search chose the cells from them."
                if artefacts.genotype is not None
                else "."
            )
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


def render(artefacts: Artefacts, space: SearchSpace | None = None) -> str:
    """The page as one self-contained HTML text; the same artefacts, the same text.

    Raises:
      WorkdirError: the artefacts do not fit each other.
    """
    shapes = find_shapes(artefacts, space)
    genes = sections.searched_cells(artefacts, shapes)
    search, retrain = artefacts.search, artefacts.retrain
    context = {
        "name": run_name(artefacts),
        "lead": _lead(artefacts),
        "notes": artefacts.notes,
        "facts": headline(artefacts),
        "version": nas_jax.__version__,
        "palette": Markup(palette_css()),
        "kinds": [kind.key for kind in KINDS],
        "pruning": artefacts.pruning and pruning_section(artefacts.pruning),
        "genotype": artefacts.genotype,
        "cells": sections.cells_section(artefacts, genes, shapes) if genes else None,
        "searched": search is not None,
        "alphas": sections.alphas_section(search, genes, shapes)
        if search is not None and shapes
        else None,
        "search_charts": sections.search_charts(search.rows) if search else [],
        "retrain_charts": sections.retrain_charts(retrain) if retrain else [],
        "best_note": sections.best_note(artefacts),
        "memory": artefacts.memory and sections.memory_section(artefacts),
        "time": sections.time_section(artefacts) if stages(artefacts) else None,
        "reproduce": sections.reproduce_section(artefacts),
    }
    template = resources.files("nas_jax.report").joinpath("template.html")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(context) + "\n"


def write_report(workdir: Path, space: SearchSpace | None = None) -> Path:
    """Writes `report.html` from the artefacts in a working directory.

    A missing artefact leaves its section out with a sentence on how to make it.

    Args:
      workdir: the directory with the artefacts; nothing else is read.
      space: the search space, if it is neither spelt out in prune.json nor registered.

    Returns:
      The path of the page.

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
