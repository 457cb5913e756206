"""The commands over the table of stages: `run`, one for each stage, and `report`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from nas_jax.cli import app
from nas_jax.paths import local_path, refuse_overwriting

HELP = {
    "run": "Prune, search, retrain and report in one workdir; goes on where it was.",
    "prune": "Score every operation without training, drop the poor ones (prune.json).",
    "search": "One-shot search on what prune.json keeps (genotype.json); without "
    "prune.json, on the whole space or on --config.space.mask. Then its memory, before "
    "and after pruning (memory.json).",
    "retrain": "Train a genotype from scratch and measure its accuracy (retrain.json).",
    "report": "Write report.html from what a workdir holds; nothing is computed again.",
}


def main(argv: Sequence[str] | None, name: str) -> int:
    """Run one of these commands; returns its exit code.

    Data, space, image and batch sizes are checked before the workdir is touched, and
    what the workdir holds before anything is written into it.
    """

    if name == "report":
        return app.run(
            report, argv, name=name, help_text=HELP[name], needs_config=False
        )

    def run(call: app.Call) -> int:
        # Imported here: a mistake in a flag is reported before JAX loads.
        from nas_jax.run import stages
        from nas_jax.run.experiment import Experiment, load_data
        from nas_jax.workdir import Workdir, describe_environment

        call.interrupt.resumable = True
        call.interrupt.doing = "while it loaded the images"
        app.configure_jax()
        workdir, planned = Workdir(call.workdir), stages.plan(name)
        written = {
            f"artefact {file} of --workdir": workdir.path(file)
            for file in stages.files()
        }
        refuse_overwriting(written, call.inputs)
        dataset, space, start = load_data(call.config)
        genotype = None
        if name == "retrain":
            genotype = read_genotype(space, call.flags["genotype"].value)
        experiment = Experiment(call.config, workdir, dataset, space, start, genotype)
        if not workdir.root.exists():
            # What is missing is said before a folder is made for the rest.
            stages.check(experiment, planned)
        with workdir.hold(call.command):
            stages.check(experiment, planned)
            environment = describe_environment(call.command, call.config.seed)
            facts = {**environment, "data": experiment.data_facts()}
            workdir.begin(call.config.to_json(), facts)
            artefacts = stages.execute(experiment, planned, call.interrupt)
            if name == "run":
                call.interrupt.doing = "while it wrote the report"
                report(call)
            for stage in planned:
                if stage.command == name:
                    for line in stage.says(experiment, artefacts[stage.name]):
                        print(line)
        return 0

    return app.run(
        run, argv, name=name, help_text=HELP[name], define_flags=_FLAGS.get(name)
    )


def report(call: app.Call) -> int:
    """Writes report.html of a workdir and prints the summary."""
    from pathlib import Path

    from nas_jax.report import summary_text, write_report

    workdir = Path(call.workdir)
    path = write_report(workdir)
    print(summary_text(workdir))
    print(f"report: {path}")
    return 0


def read_genotype(space: Any, text: str | None) -> Any:
    """The genotype of a text, or of the file that it names; None for no text.

    Raises:
        GenotypeError: It is no genotype of the space, or none that can be trained.
    """
    from nas_jax.errors import GenotypeError
    from nas_jax.networks import family_of
    from nas_jax.spaces import Genotype
    from nas_jax.spaces.text import read_text

    if not text:
        return None
    # A text is no file, whatever its length and characters.
    if os.path.isfile(local_path(text)):
        text = read_text(text, GenotypeError, "give a text file with a genotype")
    genotype = Genotype.parse(space, text)
    family = family_of(space)
    family.network(genotype, family.usual_size, 2)  # Refuses what cannot be trained.
    return genotype


def _genotype_flag(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "genotype",
        "",
        "A genotype, as text or as the path of a file with it; DARTS' notation or "
        "JSON. Without it, genotype.json of the workdir.",
        flag_values=values,
    )


_FLAGS = {"retrain": _genotype_flag}
