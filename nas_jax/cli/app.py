"""What every command does first: flags, config, logging; and how it reports mistakes.

A command module has `main(argv)`, which is one call of `run`. Importing this module
and parsing flags do not load JAX, so mistakes are reported at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags
from absl import logging as absl_logging

from nas_jax.cli.arguments import all_flags, load_config, parse, plugins_in
from nas_jax.cli.help import help_text_of
from nas_jax.config import ExperimentConfig
from nas_jax.errors import ConfigError, NasJaxError
from nas_jax.paths import local_path, refuse_overwriting
from nas_jax.plugins import load_plugins
from nas_jax.run.compilers import hide_unused
from nas_jax.run.interrupt import STOPPED, Interrupt, Stopped

CACHE_VARIABLE = "NAS_JAX_CACHE_DIR"

_PACKAGE = str(Path(__file__).parent.parent) + os.sep


@dataclass(frozen=True)
class Call:
    """What the user asked for.

    Attributes:
        command: The command line as it can be typed again, `nas-jax` first.
        config_file: Path of the config file; empty without one.
    """

    config: ExperimentConfig
    workdir: str
    flags: flags.FlagValues
    command: tuple[str, ...]
    interrupt: Interrupt
    config_file: str

    @property
    def inputs(self) -> dict[str, str]:
        """Paths of files that every command reads, by what the user calls them."""
        data = self.config.data
        return {
            "--config": self.config_file,
            # tfds reads folders of its own, remote ones too.
            "--config.data.path": "" if data.source == "tfds" else data.path,
            "--config.space.mask": self.config.space.mask,
        }

    def check_outputs(self, *names: str, also_read: Mapping[str, str]) -> None:
        """Refuses what could not be written at the end, or would destroy an input.

        Args:
            names: Flags with a file to write, or nothing.
            also_read: Paths that are read beside `inputs`, likewise.

        Raises:
            ConfigError: The file is a folder, has none, or is read.
        """
        read = {**also_read, **self.inputs}
        for name in names:
            flag, file = f"--{name}", str(self.flags[name].value)
            if file and Path(file).is_dir():
                raise ConfigError(f"{flag}={file} is a folder; name a file in it")
            if not Path(file).parent.is_dir():
                raise ConfigError(f"{flag}={file}: create its folder first")
            refuse_overwriting({flag: file}, read)
            read[flag] = file


def run(
    main: Callable[[Call], int | None],
    argv: Sequence[str] | None = None,
    *,
    name: str,
    help_text: str,
    define_flags: Callable[[flags.FlagValues], None] | None = None,
    paths: Sequence[str] = (),
    needs_config: bool = True,
    needs_workdir: bool = True,
    reads: Sequence[str] = (),
) -> int:
    """Parses the command line, sets up logging and runs a command.

    A mistake of the user, which is any NasJaxError, becomes one line on stderr.

    Args:
        name: The command's, as in `nas-jax NAME`.
        paths: Those of its own flags that hold a path, or several.
        reads: Beginnings of the paths of the config's fields that the command reads, if
            it takes a config but needs none; for --help.

    Returns:
        The exit code: 2 for a mistake of the user, STOPPED where a signal came and the
        work was saved, else that of the command.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    needed = [*["config"] * needs_config, *["workdir"] * needs_workdir]
    # A plugin, or a name in a registry, may load JAX.
    hide_unused()
    try:
        load_plugins(plugins_in(arguments))
        if {"-h", "--help"} & set(arguments):
            values = all_flags(define_flags, load_config)
            fields = ("",) if needs_config else reads
            unused = [*["config"] * (not fields), *["workdir"] * (not needs_workdir)]
            print(help_text_of(help_text, values, unused, fields))
            return 0
        values, config_file = parse(arguments, define_flags)
        for flag in needed:
            if not values[flag].present or not values[flag].value:
                raise ConfigError(f"--{flag} is missing; --help shows the flags")
        if values.workdir and not needs_workdir:
            raise ConfigError(f"--workdir: {name} writes no workdir; give --json=FILE")
        values.config.validate()
        for flag in ("workdir", *paths):
            values[flag].value = _local(values[flag].value)
        set_up_logging()
        made = values.config, values.workdir, values, ("nas-jax", name, *arguments)
        with Interrupt() as interrupt:
            return main(Call(*made, interrupt, config_file)) or 0
    except Stopped as stopped:
        absl_logging.info("%s", stopped)
        return STOPPED
    except NasJaxError as error:
        print("nas-jax: error:", " ".join(str(error).split()), file=sys.stderr)
        return 2


def set_up_logging() -> None:
    """Logs to stderr: lines of nas_jax from INFO on, of others from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(absl_logging.PythonFormatter())
    handler.addFilter(_is_wanted)
    # Does nothing where the process has set up its own logging.
    logging.basicConfig(handlers=[handler])
    absl_logging.set_verbosity(absl_logging.INFO)


def configure_jax() -> None:
    """Keeps compiled programs on disk, so that a second run starts in seconds.

    They go to the folder that NAS_JAX_CACHE_DIR names, which may be empty for none. If
    that is not set, JAX's own setting stands, and without one they go to
    `nas_jax/xla` in $XDG_CACHE_HOME or ~/.cache.
    """
    import jax

    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen is None:
        if jax.config.values["jax_compilation_cache_dir"]:
            return
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        chosen = str(Path(base) / "nas_jax" / "xla")
    if chosen:
        chosen = str(local_path(chosen))
        try:
            Path(chosen).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            absl_logging.warning(
                f"No compilation cache: cannot create {chosen}: {error.strerror}. Set "
                f"{CACHE_VARIABLE} to another folder."
            )
            chosen = ""
    jax.config.update("jax_compilation_cache_dir", chosen or None)


def _local(value: Any) -> Any:
    """The value of a flag with paths: `~` is expanded, remote ones are refused."""
    if isinstance(value, list):
        return [_local(path) for path in value]
    return str(local_path(value)) if value else value


def _is_wanted(record: logging.LogRecord) -> bool:
    # Other libraries chat on absl's logger too.
    return record.levelno > logging.INFO or record.pathname.startswith(_PACKAGE)
