"""The `nas-jax` command: hands the arguments over to the module of one command.

`python -m nas_jax.cli.main` is the same. A module's `main(argv)` gets the arguments
without the program's name.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys

import nas_jax

COMMANDS = {
    "run": "prune, search, retrain and report in one go; resumes by itself",
    "prune": "score every operation without training and drop the poor ones",
    "search": "one-shot search on the operations that are left",
    "retrain": "train a genotype from scratch and measure its accuracy",
    "score": "score architectures by the thousand without training them",
    "memory": "the search step's memory on a device that need not be there",
    "report": "write report.html from what a working directory holds",
}

STAGE_COMMANDS = ("run", "prune", "search", "retrain", "report")
"""Those of `nas_jax.cli.stage_command`; the others are `nas_jax.cli.<name>`."""

_USAGE = """\
Usage: nas-jax COMMAND [flags]

Neural architecture search in JAX: prune the space, then search the rest.

Commands:
{commands}

nas-jax COMMAND --help shows the flags of a command.
nas-jax --version shows the version."""


def usage() -> str:
    """The help text: how to call the command, and one line per command."""
    lines = [f"  {name:<7}  {text}" for name, text in COMMANDS.items()]
    return _USAGE.format(commands="\n".join(lines))


def unknown_command(name: str) -> str:
    """One line that names the unknown command and what was likely meant."""
    names = ", ".join(COMMANDS)
    if name.startswith("-"):
        return (
            f"nas-jax: error: {name!r} stands where a command is expected; put one of "
            f"{names} before the flags."
        )
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"nas-jax: error: unknown command {name!r}. {hint}The commands are {names}."


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; 2 means that the call was wrong."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until the command listens to signals, the first of them ends it, silently.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not arguments:
        print(usage(), file=sys.stderr)
        return 2
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"nas_jax {nas_jax.__version__}")
        return 0
    if name not in COMMANDS:
        print(unknown_command(name), file=sys.stderr)
        return 2
    # Imported only now, so that help and mistakes do not wait for JAX to load.
    if name in STAGE_COMMANDS:
        stage_command = importlib.import_module("nas_jax.cli.stage_command")
        return int(stage_command.main(rest, name))
    return int(importlib.import_module(f"nas_jax.cli.{name}").main(rest))


if __name__ == "__main__":
    sys.exit(main())
