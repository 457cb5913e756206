"""The arguments of a command: its flags, the config file and what overrides it."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from absl import flags
from ml_collections import config_flags

from nas_jax.config import ExperimentConfig, config_fields, type_in_words
from nas_jax.errors import ConfigError
from nas_jax.paths import local_path
from nas_jax.plugins import line_in


def parse(
    arguments: Sequence[str], define_own: Callable[[flags.FlagValues], None] | None
) -> tuple[flags.FlagValues, str]:
    """Parses the arguments of a command.

    Returns:
        The values of the flags, and the path of the config file; empty without one.

    Raises:
        ConfigError: They are not understood.
    """
    config_file = ""

    def load(location: str) -> ExperimentConfig:
        nonlocal config_file
        config_file = location.partition(":")[0]
        return load_config(location)

    try:
        arguments = flags.FlagValues().read_flags_from_files(arguments)
        _refuse_unclear_config(arguments)
        values = all_flags(define_own, load, arguments)
        rest = values(["nas-jax", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        paths = [p for p in config_fields() if p.split(".")[-1] == error.flagname]
        hint = f"; did you mean --config.{paths[0]}?" if paths else ""
        raise ConfigError(f"{error}{hint} (--help shows the flags)") from error
    except flags.Error as error:
        # absl wraps every ValueError: this one is load_config's own.
        if isinstance(error.__context__, ConfigError):
            raise error.__context__ from error
        fields = config_fields()
        path = str(error).removeprefix("flag --config.").partition("=")[0]
        known = path in fields
        hint = f"; it takes {type_in_words(fields[path].type)}" if known else ""
        raise ConfigError(f"{error}{hint}") from error
    if rest:
        raise ConfigError(
            f"unexpected argument {rest[0]!r}; flags look like --name=value"
        )
    return values, config_file


def all_flags(
    define_own: Callable[[flags.FlagValues], None] | None,
    load: Callable[[str], ExperimentConfig],
    arguments: Sequence[str] = (),
) -> flags.FlagValues:
    """All flags, on values of their own, so that a process can run many commands.

    Args:
        arguments: Where overrides of the config are looked for.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_dataclass(
        "config",
        ExperimentConfig(),
        "Python file whose get_config() returns the experiment's config; a text after "
        "a colon is handed to get_config.",
        flag_values=values,
        # Where ml_collections looks for overrides; the program's name comes first.
        sys_argv=["nas-jax", *arguments],
        parse_fn=load,
    )
    flags.DEFINE_string(
        "workdir", "", "Folder of the run's results.", flag_values=values
    )
    _define_plugin(values)
    if define_own is not None:
        define_own(values)
    return values


def plugins_in(arguments: Sequence[str]) -> list[str]:
    """The values of --plugin, in a file of flags too."""
    values = flags.FlagValues()
    _define_plugin(values)
    try:
        values(["nas-jax", *values.read_flags_from_files(arguments)], known_only=True)
    # All flags are read again, and their mistakes told, once plugins are there.
    except flags.Error:
        return []
    return list(values["plugin"].value or ())


def _define_plugin(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "plugin",
        [],
        "Python file, or name of a module, that registers spaces, data sources or "
        "other things of your own before anything else is read",
        flag_values=values,
    )


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


def load_config(location: str) -> ExperimentConfig:
    """Runs a config file and returns what its `get_config` returns.

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
        arguments = (argument,) if colon else ()
        try:
            inspect.signature(get_config).bind(*arguments)
        except TypeError as error:
            said = f"needs an argument: --config={name}:ARGUMENT"
            if colon:
                said = f"takes no argument; leave {':' + argument!r} out"
            raise ConfigError(f"config file {name} {said}") from error
        config = get_config(*arguments)
    except ConfigError:
        raise
    # A config file is a program of the user's: anything may go wrong in it.
    except (Exception, SystemExit) as error:
        line = line_in(path, error)
        raise ConfigError(
            f"config file {name}{line} raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"get_config() in {name} returned a value of type {type(config).__name__}; "
            "it must return a nas_jax.config.ExperimentConfig"
        )
    return config
