"""The stages of an experiment as a table, and how a command goes through it.

A stage is one row: what it reads, the artefact that it writes, and how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nas_jax import artefacts
from nas_jax.artefacts import Artefact
from nas_jax.checkpoint import Checkpoints
from nas_jax.errors import ConfigError, WorkdirError
from nas_jax.identity import MadeFrom
from nas_jax.run import making, memory, prune, retrain, search, summary
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.interrupt import Interrupt
from nas_jax.workdir import CONFIG, ENVIRONMENT, MAKINGS, REPORT


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


STAGES: list[Stage] = [
    Stage(
        "prune",
        writes="prune.json",
        kind=artefacts.Pruning,
        made_from=making.pruning,
        run=prune.prune,
        command="prune",
        says=prune.says,
    ),
    Stage(
        "search",
        uses=("prune",),
        writes="genotype.json",
        kind=artefacts.ChosenCells,
        made_from=making.searching,
        run=search.search,
        command="search",
        says=search.says,
    ),
    Stage(
        "memory",
        needs=("search",),
        uses=("prune",),
        writes="memory.json",
        kind=artefacts.Memory,
        made_from=making.measuring,
        run=memory.memory,
        command="search",
    ),
    Stage(
        "retrain",
        uses=("search",),
        writes="retrain.json",
        kind=artefacts.Retraining,
        made_from=making.retraining,
        run=retrain.retrain,
        command="retrain",
        says=retrain.says,
    ),
    Stage(
        "summary",
        needs=("search", "memory", "retrain"),
        uses=("prune",),
        writes="summary.json",
        kind=artefacts.Summary,
        made_from=making.summarising,
        run=summary.summarise,
    ),
]


def register_stage(stage: Stage, after: str = "retrain") -> None:
    """Adds a stage behind another one; a config file may call it.

    Raises:
        ConfigError: There is a stage of its name, or none to put it behind.
    """
    names = [row.name for row in STAGES]
    if stage.name in names or after not in names:
        raise ConfigError(
            f"cannot add stage {stage.name!r} after {after!r}: there are "
            f"{', '.join(names)}, each name once; choose another name or place"
        )
    STAGES.insert(names.index(after) + 1, stage)


def plan(command: str) -> list[Stage]:
    """The stages that a command runs where they are not finished."""
    return [stage for stage in STAGES if command in ("run", stage.command or command)]


def files() -> list[str]:
    """All files that a workdir may have, beside checkpoints."""
    written = [name for stage in STAGES for name in (stage.writes, stage.log)]
    return [CONFIG, ENVIRONMENT, MAKINGS, *written, REPORT]


def check(experiment: Experiment, planned: list[Stage]) -> None:
    """Refuses a workdir with anything in it that does not belong to the experiment.

    Called before anything is written, with all that is known by then.

    Args:
        experiment: The experiment.
        planned: What the command will run, if that has not been done.

    Raises:
        WorkdirError: Names what was made otherwise, or what is missing, and the remedy.
    """
    inputs: dict[str, Artefact] = {}
    for stage in STAGES:
        missing = [row for row in STAGES if _reads(stage, row) - set(inputs)]
        # What this command will make first is not known yet.
        coming = [row for row in missing if row in planned]
        wanted = stage in planned and bool(stage.command) and not coming
        if wanted:
            _refuse_unfinished(experiment, missing)
        made = None if coming else _made_from(stage, experiment, inputs)
        if made is not None:
            artefact = _refuse_others(experiment, stage, made)
            if artefact is not None:
                inputs[stage.name] = artefact
            continue
        if wanted:
            raise _missing(experiment, missing[0])
        found = [name for name in stage.files if experiment.workdir.has(name)]
        if found:
            raise WorkdirError(
                f"{experiment.workdir.path(found[0])} was made without "
                f"{missing[0].writes}, and this command would put another beside it; "
                "give a new --workdir. Nothing was changed"
            )


def execute(
    experiment: Experiment, planned: list[Stage], interrupt: Interrupt
) -> dict[str, Artefact]:
    """Runs what is planned and not finished; returns all artefacts by stage.

    Raises:
        Stopped: On a signal, with the work saved.
        WorkdirError: An artefact was made from something else, or is missing.
    """
    workdir, inputs = experiment.workdir, dict[str, Artefact]()
    for stage in STAGES:
        made = _made_from(stage, experiment, inputs)
        if made is None:
            continue
        artefact = workdir.read_artefact(stage.writes, stage.kind, made)
        if artefact is None and stage in planned:
            workdir.note(made)
            interrupt.doing = f"in {stage.name}"
            artefact = stage.run(experiment, _of(stage, inputs), interrupt)
            artefact = workdir.write_artefact(stage.writes, artefact, made)
            interrupt.finish(stage.name)
        if artefact is not None:
            inputs[stage.name] = artefact
    return inputs


def _reads(stage: Stage, other: Stage) -> set[str]:
    return {other.name} & {*stage.needs, *stage.uses}


def _made_from(stage: Stage, experiment: Experiment, inputs: Inputs) -> MadeFrom | None:
    if not set(stage.needs) <= set(inputs):
        return None
    return stage.made_from(experiment, _of(stage, inputs))


def _of(stage: Stage, inputs: Inputs) -> Inputs:
    """What a stage says that it reads, and nothing else."""
    return {n: inputs[n] for n in (*stage.needs, *stage.uses) if n in inputs}


def _refuse_others(
    experiment: Experiment, stage: Stage, made: MadeFrom
) -> Artefact | None:
    """The artefact of a stage, with nothing of another making beside it."""
    workdir = experiment.workdir
    artefact = workdir.read_artefact(stage.writes, stage.kind, made)
    folder = workdir.path(f"checkpoints/{stage.name}")
    Checkpoints(folder, made_from=made).refuse_others()
    workdir.refuse_other_rows(stage.log, made)
    return artefact


def _refuse_unfinished(experiment: Experiment, missing: list[Stage]) -> None:
    """Refuses to go on without a stage while it is not known what it will find."""
    for stage in missing:
        if experiment.workdir.has(stage.log):
            raise WorkdirError(
                f"{stage.name} in workdir {experiment.workdir.root} is not finished: "
                f"'nas-jax {stage.command}' or 'nas-jax run' with the same flags goes "
                "on with it; give a new --workdir to do without it"
            )


def _missing(experiment: Experiment, stage: Stage) -> WorkdirError:
    return WorkdirError(
        f"{experiment.workdir.path(stage.writes)} is missing; run the stage that "
        "writes it first"
    )
