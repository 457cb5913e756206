"""A run's working directory: every artefact is written whole or not at all.

An artefact records what it was made from, and one of another making is never used.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from absl import logging

import nas_jax
from nas_jax.artefacts import Artefact, checked, to_json
from nas_jax.errors import WorkdirError
from nas_jax.identity import FIELD, MadeFrom
from nas_jax.jsonable import differences, dumps
from nas_jax.lock import locked
from nas_jax.paths import local_path

CONFIG = "config.json"
ENVIRONMENT = "environment.json"

MAKINGS = "made_from.json"
LOCK = ".lock"
REPORT = "report.html"

A = TypeVar("A", bound=Artefact)

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


class Workdir:
    """A folder that holds the artefacts of one experiment."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Names a working directory, which `hold` also creates and locks.

        Args:
            path: The folder, which may be missing; `~` is the home folder.

        Raises:
            PathError: It is a remote path.
        """
        self.root = local_path(path)

    @contextlib.contextmanager
    def hold(self, command: Sequence[str] = ()) -> Iterator[None]:
        """A block during which no other process writes here; makes the folder.

        Args:
            command: Who holds it, for the message that others get.

        Raises:
            WorkdirError: The path is a file or cannot be written, or another process
                holds it. Nothing has been written then.
        """
        lock = locked(self.path(LOCK), f"workdir {self.root}", command)
        with contextlib.ExitStack() as stack:
            try:
                if self.root.exists() and not self.root.is_dir():
                    raise WorkdirError(
                        f"workdir {self.root} is a file; give a folder as --workdir"
                    )
                self.root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(lock)
            except OSError as error:
                raise self._unwritable(error) from error
            yield

    def begin(self, config_json: str, environment: Mapping[str, Any]) -> None:
        """Writes config.json and environment.json, of the latest start.

        The field `earlier` of environment.json lists the starts before. What belongs
        together is not decided by these two, but by what each artefact was made from.

        Args:
            config_json: The experiment's config as JSON text.
            environment: What `describe_environment` returned.

        Raises:
            WorkdirError: The folder cannot be written.
        """
        before = self._earlier(ENVIRONMENT)
        earlier = [*before.pop("earlier", []), before] if before else []
        old = self._earlier(CONFIG)
        changed = differences(old, json.loads(config_json)) if old else []
        if changed:
            logging.info("%s now has %s", self.path(CONFIG), "; ".join(changed))
        self.write_text(CONFIG, config_json.rstrip("\n") + "\n")
        self.write_json(ENVIRONMENT, {**environment, "earlier": earlier})

    def path(self, name: str) -> Path:
        """Returns the path of an artefact, which may be missing."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Returns whether an artefact exists."""
        return self.path(name).exists()

    def read_json(self, name: str) -> Any:
        """Reads a JSON artefact.

        Raises:
            WorkdirError: The artefact is missing, unreadable or not strict JSON.
        """
        path = self.path(name)
        try:
            return json.loads(
                path.read_text(encoding="utf-8"), parse_constant=_refuse_constant
            )
        except FileNotFoundError as error:
            raise WorkdirError(
                f"{path} is missing; run the stage that writes it first"
            ) from error
        except OSError as error:
            raise WorkdirError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:
            raise WorkdirError(
                f"{path} is not JSON: {error}; remove it and run its stage again"
            ) from error

    def read_artefact(self, name: str, kind: type[A], made_from: MadeFrom) -> A | None:
        """An artefact of this very making; None where it is missing.

        Args:
            name: Its file name.
            kind: Its class.
            made_from: What it would be made from now.

        Raises:
            WorkdirError: It is malformed, or was made from something else.
        """
        if not self.has(name):
            return None
        value = self.read_json(name)
        stored = MadeFrom.of(value.get(FIELD)) if isinstance(value, dict) else None
        made_from.refuse_others(str(self.path(name)), stored)
        return checked(value, kind, name)

    def note(self, made_from: MadeFrom) -> None:
        """Keeps what a stage is about to be made from, by its digest.

        Rows of logs hold the digest alone; with this, a message can say what changed.

        Raises:
            WorkdirError: The folder cannot be written.
        """
        known = self._earlier(MAKINGS)
        if made_from.digest not in known:
            self.write_json(MAKINGS, {**known, made_from.digest: made_from.inputs})

    def refuse_other_rows(self, name: str, made_from: MadeFrom) -> None:
        """Refuses a log that has rows of another making; damaged rows pass.

        Args:
            name: The log's file name; it may be missing.
            made_from: What it would be made from now.

        Raises:
            WorkdirError: Names the first such row, what changed, and the remedy.
        """
        path = self.path(name)
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
        except OSError as error:
            raise WorkdirError(f"cannot read {path}: {error.strerror}") from error
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get(FIELD) != made_from.digest:
                noted = {"from": self._noted().get(str(row.get(FIELD)))}
                stored = MadeFrom.of(noted)
                made_from.refuse_others(f"{path}, line {number}", stored)

    def _noted(self) -> dict[str, Any]:
        """What `note` kept; nothing where it is missing or damaged. Moves no file."""
        try:
            value = self.read_json(MAKINGS)
        except WorkdirError:
            return {}
        return value if isinstance(value, dict) else {}

    def write_artefact(self, name: str, artefact: A, made_from: MadeFrom) -> A:
        """Writes an artefact with what it was made from, and returns it so."""
        whole = dataclasses.replace(artefact, made_from=made_from)
        self.write_json(name, to_json(whole))
        return whole

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON artefact; NaN and infinities become null.

        Raises:
            WorkdirError: The folder cannot be written; an earlier artefact of the name
                is unchanged then.
            TypeError: JSON has nothing for a part of the value.
        """
        self.write_text(name, dumps(value, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text artefact.

        Raises:
            WorkdirError: The folder cannot be written; an earlier artefact of the name
                is unchanged then.
        """
        try:
            write_atomically(self.path(name), text)
        except OSError as error:
            raise self._unwritable(error) from error

    def _earlier(self, name: str) -> dict[str, Any]:
        """What an earlier start wrote; a damaged file is put aside."""
        if not self.has(name):
            return {}
        try:
            value = self.read_json(name)
            if isinstance(value, dict):
                return value
            what = f"{self.path(name)} is not a JSON object"
        except WorkdirError as error:
            what = str(error).partition(";")[0]
        aside = self.path(f"{name}.damaged")
        logging.warning("%s; it is now %s, and written anew", what, aside.name)
        try:
            self.path(name).replace(aside)
        except OSError as error:
            raise self._unwritable(error) from error
        return {}

    def _unwritable(self, error: OSError) -> WorkdirError:
        return WorkdirError(
            f"cannot write to workdir {self.root}: {error.strerror}; give a folder "
            "that you may write to, on a disk with free space"
        )


def write_atomically(path: Path, text: str) -> None:
    """Writes a file under a temporary name in its folder, then renames it.

    Raises:
        OSError: The file could not be written; what was at the path is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def describe_environment(command: Sequence[str], seed: int) -> dict[str, Any]:
    """Returns what a reader needs to run the experiment again: software and device.

    Starts JAX's backend in order to ask for the device.

    Args:
        command: The command line, the program first; it is run again in the folder
            that is noted beside it.
        seed: Seed of the experiment.
    """
    import jax

    device = jax.devices()[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "working_directory": os.getcwd(),
        "seed": seed,
        "nas_jax": nas_jax.__version__,
        "git_commit": git_commit(Path(nas_jax.__file__).parent.parent),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "backend": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "x64": bool(jax.config.values["jax_enable_x64"]),
    }


def git_commit(checkout: Path) -> str | None:
    """Returns the commit of a checkout, or None where the folder is not one.

    The commit ends with `-dirty` when tracked files differ from it.
    """
    if not (checkout / ".git").exists():
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(
            ["git", "-C", str(checkout), *describe],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")
