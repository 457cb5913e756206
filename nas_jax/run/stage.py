"""What a stage is: the artefacts it reads, the one it writes, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from nas_jax.artefacts import Artefact
from nas_jax.identity import MadeFrom
from nas_jax.run.experiment import Experiment
from nas_jax.run.interrupt import Interrupt

Inputs = Mapping[str, Any]
"""Finished artefacts by the name of their stage."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        name: Its name; its log is `NAME.jsonl`, its checkpoints `checkpoints/NAME`.
        writes: File of its artefact.
        kind: The artefact's class.
        made_from: Everything that it reads, from the artefacts that are there; None
            where they do not suffice. It is kept only while this is the same.
        run: Computes the artefact. Called with an interrupt, which it need not look at:
            a signal then ends the process at once.
        needs: Stages whose artefacts it cannot do without.
        uses: Stages whose artefacts it reads where they are there.
        command: The command that runs it beside `run`; without one, every command does
            as soon as what it needs is there.
        says: Lines that its command prints, also where the artefact was kept.
    """

    name: str
    writes: str
    kind: type[Artefact]
    made_from: Callable[[Experiment, Inputs], MadeFrom | None]
    run: Callable[[Experiment, Inputs, Interrupt], Artefact]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    command: str = ""
    says: Callable[[Experiment, Any], list[str]] = lambda experiment, artefact: []

    @property
    def log(self) -> str:
        """File of its log."""
        return f"{self.name}.jsonl"

    @property
    def files(self) -> tuple[str, ...]:
        """All that it may leave in a workdir."""
        return self.writes, self.log, f"checkpoints/{self.name}"
