"""What the commands of the stages share: open an experiment, stop on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from absl import flags, logging

from nas_jax.cli import app


def main(
    stage: Callable[..., None],
    argv: Sequence[str] | None,
    help_text: str,
    define_flags: Callable[[flags.FlagValues], None] | None = None,
    check: Callable[..., object] | None = None,
) -> int:
    """Run one command on an experiment.

    Data, space, image and batch sizes are checked before the workdir is touched.

    Args:
        stage: Called with the experiment, an open `Interrupt` and the `app.Call`.
        argv: Arguments without the program's name; None takes those of the process.
        help_text: What the command does.
        define_flags: Defines the command's own flags.
        check: Raises NasJaxError where they are wrong; called with the `app.Call` and
            the space, before the workdir is touched.

    Returns:
        The exit code: 0 also when SIGTERM stopped the run after it was saved.
    """

    def run(call: app.Call) -> int:
        # Imported here: a mistake in a flag is reported before JAX loads.
        from nas_jax.cli import stages
        from nas_jax.cli.interrupt import Interrupt, Stopped
        from nas_jax.workdir import Workdir, describe_environment

        app.configure_jax()
        dataset, space, start = stages.load_data(call.config)
        if check is not None:
            check(call, space)
        workdir = Workdir.open(
            call.workdir,
            call.config.to_json(),
            describe_environment(call.command, call.config.seed),
        )
        experiment = stages.Experiment(call.config, workdir, dataset, space, start)
        try:
            with Interrupt() as interrupt:
                stage(experiment, interrupt, call)
        except Stopped as stopped:
            logging.info("%s", stopped)
        return 0

    return app.run(run, argv, help_text=help_text, define_flags=define_flags)
