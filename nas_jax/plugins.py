"""A user's own spaces, sources, algorithms and the like, loaded before anything else.

A plugin is a Python file or a module that calls the `register_*` functions when it is
imported. Which ones are loaded stands in an environment variable too, so that every
process that a command starts loads the same.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas_jax.errors import ConfigError
from nas_jax.paths import local_path

PROVIDERS = ("nas_jax.contrib",)
"""Modules that register what the core does not know, in the registry's own time."""
VARIABLE = "NAS_JAX_PLUGINS"
"""Names the plugins of this process and of those that it starts, as PATH does."""
_LOADED: dict[str, str] = {}
"""SHA-256 of the content of every plugin, by the name of its module."""


def load_plugins(plugins: Iterable[str] = ()) -> None:
    """Imports plugins, those of NAS_JAX_PLUGINS first; what is loaded stays as it is.

    A plugin is a program: what it does when it is imported, it does here.

    Raises:
        ConfigError: A plugin does not exist, or raised an error; names the line.
    """
    inherited = os.environ.get(VARIABLE, "").split(os.pathsep)
    wanted = list(dict.fromkeys([*filter(None, inherited), *map(_absolute, plugins)]))
    for plugin in wanted:
        _load(plugin)
    if wanted:
        os.environ[VARIABLE] = os.pathsep.join(wanted)


def code_digests(functions: Iterable[Any]) -> list[str]:
    """SHA-256 of the plugins that some functions or classes were loaded from, sorted.

    What a result was made from includes the user's own code that made it.
    """
    modules = {getattr(function, "__module__", "") for function in functions}
    return sorted(_LOADED[name] for name in modules if name in _LOADED)


def line_in(path: Path, error: BaseException) -> str:
    """Where in a file an error arose: `, line 3`, or nothing."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def _absolute(plugin: str) -> str:
    """A plugin as another process finds it, whatever its working folder."""
    if not plugin or os.pathsep in plugin:
        raise ConfigError(
            f"plugin {plugin!r}: give the path of a Python file or the name of a "
            f"module, without {os.pathsep!r}"
        )
    return str(local_path(plugin).resolve()) if _is_file(plugin) else plugin


def _is_file(plugin: str) -> bool:
    return plugin.endswith(".py") or os.sep in plugin


def _load(plugin: str) -> None:
    path = _path_of(plugin)
    if path is None:
        raise ConfigError(
            f"plugin {plugin} does not exist; give the path of a Python file or the "
            "name of a module that is installed"
        )
    try:
        name = _load_file(path) if _is_file(plugin) else plugin
        importlib.import_module(name)
        _LOADED.setdefault(name, hashlib.sha256(path.read_bytes()).hexdigest())
    # A plugin is a program of the user's: anything may go wrong in it.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"plugin {path}{line_in(path, error)} raised {type(error).__name__}: "
            f"{error}"
        ) from error


def _path_of(plugin: str) -> Path | None:
    if _is_file(plugin):
        return Path(plugin) if os.path.isfile(plugin) else None
    try:
        spec = importlib.util.find_spec(plugin)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _load_file(path: Path) -> str:
    """Imports a file; returns the name of its module."""
    # The same name in every process, and another one for another file.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"nas_jax_plugin_{path.stem}_{digest}"
    if name in sys.modules:
        return name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while it is executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return name
