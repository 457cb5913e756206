"""The summary that a terminal shows at the end of a run."""

from __future__ import annotations

import textwrap
from pathlib import Path

from nas_jax.report.artefacts import read_artefacts
from nas_jax.report.facts import headline, run_name

_WIDTH = 88
_INDENT = 20


def _printable(text: str) -> str:
    """Plain ASCII without control characters, so no terminal is led astray."""
    plain = text.replace("→", "->").replace("−", "-").replace("…", "...")
    plain = plain.replace("×", "x")
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


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
        lines.append(
            f"  {'genotype':<{_INDENT - 2}}{_printable(artefacts.genotype.text)}"
        )
        decision = artefacts.genotype.decision
        if decision is not None and decision.warning:
            lines.append(_line("warning", decision.warning))
    if len(lines) == 1:
        lines.append("  no stage has finished yet")
    lines += [_line("note", note) for note in artefacts.notes]
    return "\n".join(lines) + "\n"
