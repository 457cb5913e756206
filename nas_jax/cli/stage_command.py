"""What the commands of the stages share: open an experiment, refuse, compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from nas_jax.cli import app


def main(
    name: str,
    check: Callable[[Any, app.Call], object],
    stage: Callable[[Any, app.Call], None],
    argv: Sequence[str] | None,
    help_text: str,
    define_flags: Callable[[flags.FlagValues], None] | None = None,
    check_flags: Callable[[app.Call, Any], object] | None = None,
) -> int:
    """Run one command on an experiment.

    Data, space, image and batch sizes are checked before the workdir is touched, and
    what the workdir holds before anything is written into it.

    Args:
        name: The command's name.
        check: Raises WorkdirError where the workdir holds what does not belong to the
            experiment. Called with the experiment and the call, while nothing has been
            written.
        stage: Computes; called likewise.
        argv: Arguments without the program's name; None takes those of the process.
        help_text: What the command does.
        define_flags: Defines the command's own flags.
        check_flags: Raises NasJaxError where they are wrong. Called with the call and
            the space, before the workdir is touched.

    Returns:
        The exit code.
    """

    def run(call: app.Call) -> int:
        # Imported here: a mistake in a flag is reported before JAX loads.
        from nas_jax.cli import stages
        from nas_jax.workdir import Workdir, describe_environment

        call.interrupt.resumable = True
        call.interrupt.doing = "while it loaded the images"
        app.configure_jax()
        _refuse_artefacts_as_inputs(call)
        dataset, space, start = stages.load_data(call.config)
        if check_flags is not None:
            check_flags(call, space)
        with Workdir.hold(call.workdir, call.command) as workdir:
            experiment = stages.Experiment(call.config, workdir, dataset, space, start)
            check(experiment, call)
            environment = describe_environment(call.command, call.config.seed)
            workdir.begin(
                call.config.to_json(), {**environment, "data": experiment.data_facts()}
            )
            stage(experiment, call)
        return 0

    return app.run(run, argv, name=name, help_text=help_text, define_flags=define_flags)


def _refuse_artefacts_as_inputs(call: app.Call) -> None:
    """Refuses to read from the workdir what a stage will write there."""
    from nas_jax.paths import refuse_overwriting
    from nas_jax.workdir import ARTEFACTS, Workdir

    # tfds reads folders of its own, remote ones too.
    root, data = Workdir(call.workdir).root, call.config.data
    refuse_overwriting(
        {f"artefact {name} of --workdir": root / name for name in ARTEFACTS},
        {
            "--config": call.config_file,
            "--config.data.path": "" if data.source == "tfds" else data.path,
            "--config.space.mask": call.config.space.mask,
        },
    )
