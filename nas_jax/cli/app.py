"""What every command does first: flags, config, logging; and how it reports mistakes.

A command module has `main(argv)`, which is one call of `run`. Importing this module
and parsing flags do not load JAX, so mistakes are reported at once.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import re
import runpy
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from absl import flags
from absl import logging as absl_logging
from ml_collections import config_flags

from nas_jax.config import ExperimentConfig, config_fields, config_sections
from nas_jax.config_rules import type_in_words
from nas_jax.errors import ConfigError, NasJaxError
from nas_jax.paths import local_path
from nas_jax.run.compilers import hide_unused
from nas_jax.run.interrupt import STOPPED, Interrupt, Stopped

CACHE_VARIABLE = "NAS_JAX_CACHE_DIR"

_HELP_WIDTH = 88

_PACKAGE = str(Path(__file__).parent.parent) + os.sep


@dataclass(frozen=True)
class Call:
    """What the user asked for.

    Attributes:
        config: The validated config; the defaults where a command needs no config.
        workdir: The folder given as --workdir; empty where a command needs none.
        flags: The command's own flags.
        command: The command line as it can be typed again, `nas-jax` first.
        interrupt: Listens to signals while the command runs.
        config_file: Path of the config file; empty without one.
    """

    config: ExperimentConfig
    workdir: str
    flags: flags.FlagValues
    command: tuple[str, ...]
    interrupt: Interrupt
    config_file: str


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
        main: The command. Returns its exit code; None means 0.
        argv: The arguments without the program's name; None takes those of the process.
        name: The command's, as in `nas-jax NAME`.
        help_text: What the command does; the first thing that --help prints.
        define_flags: Defines the command's own flags, on the given flag values.
        paths: Those of its own flags that hold a path, or several.
        needs_config: Whether --config must be given.
        needs_workdir: Whether --workdir must be given.
        reads: Beginnings of the paths of the config's fields that the command reads, if
            it takes a config but needs none; for --help.

    Returns:
        The exit code: 2 for a mistake of the user, STOPPED where a signal came and the
        work was saved, else that of the command.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    needed = [*["config"] * needs_config, *["workdir"] * needs_workdir]
    if {"-h", "--help"} & set(arguments):
        values = _define_flags([], define_flags)
        fields = ("",) if needs_config else reads
        unused = [*["config"] * (not fields), *["workdir"] * (not needs_workdir)]
        print(_help(help_text, values, unused, fields))
        return 0
    try:
        values = _parse(arguments, define_flags)
        for flag in needed:
            if not values[flag].present or not values[flag].value:
                raise ConfigError(f"--{flag} is missing; --help shows the flags")
        values.config.validate()
        for flag in ("workdir", *paths):
            values[flag].value = _local(values[flag].value)
        set_up_logging()
        hide_unused()
        command = ("nas-jax", name, *arguments)
        with Interrupt() as interrupt:
            call = Call(
                values.config,
                values.workdir,
                values,
                command,
                interrupt,
                _config_file(arguments),
            )
            return main(call) or 0
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
                "No compilation cache: cannot create %s: %s. Set %s to another folder.",
                chosen,
                error.strerror,
                CACHE_VARIABLE,
            )
            chosen = ""
    jax.config.update("jax_compilation_cache_dir", chosen or None)


def load_config(location: str) -> ExperimentConfig:
    """Runs a config file and returns what its `get_config` returns.

    Args:
        location: `FILE` or `FILE:ARGUMENT`; the argument goes to `get_config`.

    Raises:
        ConfigError: The file is missing, raises, or returns no ExperimentConfig.
    """
    local_path(location)  # Refuses gs://..., whose colon is another.
    name, colon, argument = location.partition(":")
    path = local_path(name)
    if not path.is_file():
        names = [str(other) for other in path.parent.glob("*.py")]
        nearest = get_close_matches(str(path), names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f"config file {name!r} does not exist{hint}")
    try:
        # runpy, unlike an import, leaves no __pycache__ behind.
        get_config = runpy.run_path(str(path)).get("get_config")
        if not callable(get_config):
            raise ConfigError(
                f"config file {name} lacks a function get_config() that returns an "
                "ExperimentConfig"
            )
        config = get_config(*_arguments_of(get_config, name, colon, argument))
    except ConfigError:
        raise
    # A config file is a program of the user's: anything may go wrong in it.
    except (Exception, SystemExit) as error:
        line = _line_in(path, error)
        raise ConfigError(
            f"config file {name}{line} raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"get_config() in {name} returned a value of type {type(config).__name__}; "
            "it must return a nas_jax.config.ExperimentConfig"
        )
    return config


def _arguments_of(
    get_config: Callable[..., Any], name: str, colon: str, argument: str
) -> tuple[str, ...]:
    """What to call get_config with, once it is sure that it takes that."""
    arguments = (argument,) if colon else ()
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        if colon:
            raise ConfigError(
                f"config file {name} takes no argument; leave {':' + argument!r} out"
            ) from error
        raise ConfigError(
            f"config file {name} needs an argument: --config={name}:ARGUMENT"
        ) from error
    return arguments


def _line_in(path: Path, error: BaseException) -> str:
    """Where in a file an error arose: `, line 3`, or nothing."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _parse(
    arguments: Sequence[str], define_flags: Callable[[flags.FlagValues], None] | None
) -> flags.FlagValues:
    """Parses the arguments; raises ConfigError where they are not understood."""
    try:
        arguments = flags.FlagValues().read_flags_from_files(arguments)
        _refuse_unclear_config(arguments)
        values = _define_flags(arguments, define_flags)
        rest = values(["nas-jax", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        paths = [p for p in config_fields() if p.split(".")[-1] == error.flagname]
        hint = f"; did you mean --config.{paths[0]}?" if paths else ""
        raise ConfigError(f"{error}{hint} (--help shows the flags)") from error
    except flags.Error as error:
        # absl wraps every ValueError: this one is load_config's own.
        if isinstance(error.__context__, ConfigError):
            raise error.__context__ from error
        raise ConfigError(f"{error}{_allowed(str(error))}") from error
    if rest:
        raise ConfigError(
            f"unexpected argument {rest[0]!r}; flags look like --name=value"
        )
    return values


def _local(value: Any) -> Any:
    """The value of a flag with paths: `~` is expanded, remote ones are refused."""
    if isinstance(value, list):
        return [_local(path) for path in value]
    return str(local_path(value)) if value else value


def _config_file(arguments: Sequence[str]) -> str:
    """Path of the config file among checked arguments, or nothing."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        name, equals, value = argument.lstrip("-").partition("=")
        if name == "config" and argument.startswith("-"):
            return (value if equals else following).partition(":")[0]
    return ""


def _define_flags(
    arguments: Sequence[str], define_flags: Callable[[flags.FlagValues], None] | None
) -> flags.FlagValues:
    """Defines all flags on values of their own, so that a process can run many."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_dataclass(
        "config",
        ExperimentConfig(),
        "Python file whose get_config() returns the experiment's config; a text after "
        "a colon is handed to get_config.",
        flag_values=values,
        # Where ml_collections looks for overrides; the program's name comes first.
        sys_argv=["nas-jax", *arguments],
        parse_fn=load_config,
    )
    flags.DEFINE_string(
        "workdir", "", "Folder of the run's results.", flag_values=values
    )
    if define_flags is not None:
        define_flags(values)
    return values


def _refuse_unclear_config(arguments: Sequence[str]) -> None:
    """Raises ConfigError for two configs, or for a field that does not exist."""
    names = [argument.partition("=")[0] for argument in arguments]
    if names.count("--config") + names.count("-config") > 1:
        raise ConfigError("--config is given more than once; give one config file")
    paths = list(config_fields())
    for name in names:
        override = re.fullmatch(r"--?(?:no)?config\.(.*)", name)
        if override and override[1] not in paths:
            raise ConfigError(f"{name}: {_unknown_field(override[1], paths)}")


def _unknown_field(path: str, paths: list[str]) -> str:
    """Says what was likely meant, and what there is where the path goes wrong."""
    if fields := _members(path, paths):
        return f"this is a group of fields; set one of them: {', '.join(fields)}"
    section = path.rpartition(".")[0]
    while not (fields := _members(section, paths)):
        section = section.rpartition(".")[0]
    same_name = [other for other in paths if other.endswith(f".{path}")]
    nearest = same_name or get_close_matches(path, paths, n=1)
    hint = f"; did you mean --config.{nearest[0]}?" if nearest else "."
    return (
        f"the config has no field {path!r}{hint} {section or 'The config'} has "
        f"{', '.join(fields)}"
    )


def _members(section: str, paths: list[str]) -> list[str]:
    """Names directly in a section, or in the whole config if the section is ''."""
    prefix = f"{section}." if section else ""
    inside = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    return list(dict.fromkeys(path.partition(".")[0] for path in inside))


def _allowed(message: str) -> str:
    """What the config field that absl complains about takes, or nothing."""
    fields = config_fields()
    path = message.removeprefix("flag --config.").partition("=")[0]
    return f"; it takes {type_in_words(fields[path].type)}" if path in fields else ""


def _help(
    help_text: str,
    values: flags.FlagValues,
    unused: Sequence[str],
    fields: Sequence[str],
) -> str:
    """The help text: what the command does, its flags, the fields of the config.

    Args:
        help_text: What the command does.
        values: Its flags.
        unused: Names of flags that every command has and this one does not take.
        fields: Beginnings of the paths of the config's fields that it reads.
    """
    lines = [_wrapped(help_text), "", "Flags:"]
    placeholders = {"config": "FILE[:ARGUMENT]", "workdir": "FOLDER"}
    for name in values:
        if name in unused:
            continue
        placeholder = placeholders.get(name, "VALUE")
        shown = name if values[name].boolean else f"{name}={placeholder}"
        lines += [f"  --{shown}", _wrapped(values[name].help, indent=6)]
    if fields:
        lines += ["", "Fields of the config, each set with --config.FIELD=VALUE:"]
    sections = config_sections()
    for path, config_field in config_fields().items():
        if not path.startswith(tuple(fields)):
            continue
        section = path.partition(".")[0]
        if section in sections:
            lines += ["", _wrapped(f"{section}: {sections.pop(section)}", indent=2)]
        lines.append(f"  {path} = {config_field.default!r}")
        limits = config_field.allowed and f" Allowed: {config_field.allowed}."
        lines.append(_wrapped(config_field.meaning + limits, indent=6))
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 0) -> str:
    """Text as a paragraph; nothing that could be copied is broken."""
    return textwrap.fill(
        text,
        width=_HELP_WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _is_wanted(record: logging.LogRecord) -> bool:
    """Whether to show a log record: other libraries chat on absl's logger too."""
    return record.levelno > logging.INFO or record.pathname.startswith(_PACKAGE)
