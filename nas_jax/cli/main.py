"""The `nas-jax` command: hands the arguments over to one command module.

`python -m nas_jax.cli.main` is the same. A command module has `main(argv: list[str] |
None = None) -> int`, where argv does not hold the program name; the stages of an
experiment share one.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from typing import NamedTuple

import nas_jax


class Command(NamedTuple):
    """A command and its line in the help text."""

    name: str
    help: str


STAGE_COMMANDS = (
    Command("run", "prune, search, retrain and report in one go; resumes by itself"),
    Command("prune", "score every operation without training and drop the poor ones"),
    Command("search", "one-shot search on the operations that are left"),
    Command("retrain", "train a genotype from scratch and measure its accuracy"),
)
"""Those that go through the table of stages; the others are `nas_jax.cli.<name>`."""

COMMANDS = (
    *STAGE_COMMANDS,
    Command("score", "score architectures by the thousand without training them"),
    Command("memory", "the search step's memory on a device that need not be there"),
    Command("report", "write report.html from what a working directory holds"),
)


def usage() -> str:
    """Returns the help text: how to call the command, and one line per command."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:<{width}}  {command.help}" for command in COMMANDS]
    return "\n".join(
        [
            "Usage: nas-jax COMMAND [flags]",
            "",
            "Neural architecture search in JAX: prune the space, then search the rest.",
            "",
            "Commands:",
            *lines,
            "",
            "nas-jax COMMAND --help shows the flags of a command.",
            "nas-jax --version shows the version.",
        ]
    )


def unknown_command(name: str) -> str:
    """Returns one line that names the unknown command and what was likely meant."""
    names = [command.name for command in COMMANDS]
    if name.startswith("-"):
        return (
            f"nas-jax: error: {name!r} stands where a command is expected; put one of "
            f"{', '.join(names)} before the flags."
        )
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return (
        f"nas-jax: error: unknown command {name!r}. {hint}The commands are "
        f"{', '.join(names)}."
    )


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
    if name not in [command.name for command in COMMANDS]:
        print(unknown_command(name), file=sys.stderr)
        return 2
    # Imported only now, so that help and mistakes do not wait for JAX to load.
    if name in [command.name for command in STAGE_COMMANDS]:
        stage_command = importlib.import_module("nas_jax.cli.stage_command")
        return int(stage_command.main(rest, name))
    module = importlib.import_module(f"nas_jax.cli.{name}")
    return int(module.main(rest))


if __name__ == "__main__":
    sys.exit(main())
