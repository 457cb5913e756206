"""A run in words: the figures that page and terminal share, and the terminal's text."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

from nas_jax.artefacts import Data, Memory, Pruning, SearchDecision
from nas_jax.report.artefacts import Artefacts, finite, read_artefacts
from nas_jax.report.formats import (
    change,
    count,
    duration,
    mebibytes,
    percent,
    wilson_interval,
)
from nas_jax.report.pruning import meaning_of, target, warned

_WIDTH = 88
_INDENT = 20


class Fact(NamedTuple):
    """A headline figure: its label, its value and what to know about it."""

    label: str
    value: str
    note: str


class Stage(NamedTuple):
    """A stage's seconds and its share of the total."""

    name: str
    seconds: float
    share: float


def run_name(artefacts: Artefacts) -> str:
    """The experiment's name, and that of its images where they are the user's own."""
    summary, data = artefacts.summary, artefacts.data
    name = summary.name if summary is not None else ""
    name = name or str((artefacts.config or {}).get("name") or "experiment")
    return f"{name}: {data.label}" if data is not None and data.label else name


def final_accuracy(artefacts: Artefacts) -> float | None:
    """The final test accuracy: the summary's, else the last one that was logged."""
    if artefacts.summary is not None and artefacts.summary.test_accuracy is not None:
        return artefacts.summary.test_accuracy
    logged = (row.values.get("test_accuracy") for row in artefacts.retrain or ())
    return next(reversed([f for f in logged if finite(f) is not None]), None)


def _parameters(artefacts: Artefacts) -> int | None:
    """The retrained network's parameters, from the summary or the genotype."""
    summary, genotype = artefacts.summary, artefacts.genotype
    if summary is not None and summary.parameters is not None:
        return summary.parameters
    return genotype.parameters if genotype is not None else None


def peaks(memory: Memory) -> tuple[float, float]:
    """Peak bytes before and after pruning."""
    return memory.unpruned["peak_bytes"], memory.pruned["peak_bytes"]


def stages(artefacts: Artefacts) -> list[Stage]:
    """The stages in the order they ran; `other` is what the total has beyond them."""
    seconds = dict(artefacts.summary.seconds) if artefacts.summary else {}
    seconds = {name: value for name, value in seconds.items() if finite(value)}
    total = seconds.pop("total", 0.0)
    known = sum(seconds.values())
    if total - known > 0.005 * total:
        seconds["other"] = total - known
    whole = max(total, known)
    return [Stage(name, value, value / whole) for name, value in seconds.items()]


def _accuracy_fact(accuracy: float, number: int | None) -> Fact:
    if not number:
        return Fact("Test accuracy", percent(accuracy), "number of images not recorded")
    low, high = wilson_interval(min(1.0, max(0.0, accuracy)), number)
    return Fact(
        "Test accuracy",
        percent(accuracy),
        f"{round(accuracy * number):,} of {number:,} images; "
        f"95% interval {100 * low:.1f} to {percent(high)}",
    )


def _data_fact(data: Data) -> Fact:
    """Which images, how many, of how many classes, how large."""
    split = {"for training": data.num_train, "to test": data.num_test}
    known = {use: number for use, number in split.items() if number is not None}
    parts = [" ".join(filter(None, (data.source, data.label)))]
    parts.append(", ".join(f"{number:,} {use}" for use, number in known.items()))
    if data.num_classes is not None:
        parts.append(f"{data.num_classes:,} classes")
    parts.append(" × ".join(map(str, data.image_shape)))
    value = f"{sum(known.values()):,} images" if known else "images"
    return Fact("Data", value, "; ".join(filter(None, parts)))


def _pruning_fact(pruning: Pruning) -> Fact:
    share = percent(pruning.kept / pruning.total, 0)
    note = f"{share} kept; {meaning_of(pruning)['title']}, {target(pruning)}"
    if pruning.kept == pruning.total:
        note = f"nothing was pruned; {note}"
    if pruning.warnings:
        note += f"; {warned(pruning)}"
    return Fact("Operations kept", f"{pruning.kept} of {pruning.total}", note)


def _decision_fact(found: SearchDecision) -> Fact:
    note = "mostly chance, see Cells found" if found.warning else "more than chance"
    return Fact("Genes decided", f"{found.decided} of {found.genes}", note)


def headline(artefacts: Artefacts) -> list[Fact]:
    """The figures that the artefacts support, most important first."""
    facts = []
    accuracy = final_accuracy(artefacts)
    if accuracy is not None:
        number = artefacts.summary.num_test if artefacts.summary else None
        facts.append(_accuracy_fact(accuracy, number))
    if artefacts.data is not None:
        facts.append(_data_fact(artefacts.data))
    size = _parameters(artefacts)
    if size is not None:
        facts.append(Fact("Parameters", count(size), "of the retrained network"))
    pruning = artefacts.pruning
    if pruning is not None and pruning.total:
        facts.append(_pruning_fact(pruning))
    chosen = artefacts.genotype
    if chosen is not None and chosen.decision is not None and chosen.decision.genes:
        facts.append(_decision_fact(chosen.decision))
    memory = artefacts.memory
    if memory is not None:
        before, after = peaks(memory)
        value = f"{mebibytes(before)} → {mebibytes(after)}".replace(" MiB →", " →")
        note = f"{change(before, after)}; peak of the compiled step, {memory.target}"
        facts.append(Fact("Search memory", value, note))
    times = stages(artefacts)
    if times:
        total = sum(stage.seconds for stage in times)
        named = [f"{s.name} {duration(s.seconds)}" for s in times if s.name != "other"]
        facts.append(Fact("Time", duration(total), ", ".join(named)))
    return facts


def _printable(text: str) -> str:
    """Plain ASCII without control characters, so no terminal is led astray."""
    for sign, plain in (("→", "->"), ("−", "-"), ("…", "..."), ("×", "x")):
        text = text.replace(sign, plain)
    return re.sub(r"[^ -~]", "?", text)


def _line(label: str, text: str) -> str:
    return textwrap.fill(
        _printable(text),
        width=_WIDTH,
        initial_indent=f"  {label:<{_INDENT - 2}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary_text(workdir: Path) -> str:
    """A few lines of plain ASCII: the headline figures and the genotype.

    Raises:
      WorkdirError: the directory does not exist, an artefact is malformed, or
        artefacts do not belong together.
    """
    artefacts = read_artefacts(workdir)
    lines = [_printable(run_name(artefacts))]
    for fact in headline(artefacts):
        lines.append(_line(fact.label.lower(), f"{fact.value} ({fact.note})"))
    if artefacts.genotype is not None:
        # Never wrapped, so that it can be copied as it stands.
        text = _printable(artefacts.genotype.text)
        lines.append(f"  {'genotype':<{_INDENT - 2}}{text}")
        decision = artefacts.genotype.decision
        if decision is not None and decision.warning:
            lines.append(_line("warning", decision.warning))
    if len(lines) == 1:
        lines.append("  no stage has finished yet")
    lines += [_line("note", note) for note in artefacts.notes]
    return "\n".join(lines) + "\n"
