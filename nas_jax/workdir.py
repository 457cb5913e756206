"""A run's working directory: every artefact is written whole or not at all."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nas_jax
from nas_jax.errors import WorkdirError
from nas_jax.jsonable import differences, dumps

CONFIG = "config.json"
ENVIRONMENT = "environment.json"

# The artefact that a stage writes last.
STAGES = {
    "prune": "prune.json",
    "search": "genotype.json",
    "retrain": "summary.json",
    "report": "report.html",
}

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


class Workdir:
    """A folder that holds the artefacts of one experiment."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Names a working directory; `open` also checks and creates it.

        Args:
            path: The folder, which may be missing.
        """
        self.root = Path(path)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        config_json: str,
        environment: Mapping[str, Any],
    ) -> Workdir:
        """Creates a working directory, or goes on in one of the same experiment.

        Writes config.json and environment.json. When a run goes on, environment.json
        describes the latest start, and its `earlier` lists those before.

        Args:
            path: The folder; missing parents are created.
            config_json: The experiment's config as JSON text.
            environment: What `describe_environment` returned.

        Raises:
            WorkdirError: The path is a file or cannot be written, or holds another
                experiment. Nothing has been written then.
        """
        workdir = cls(path)
        earlier = []
        try:
            if workdir.root.exists() and not workdir.root.is_dir():
                raise WorkdirError(
                    f"workdir {workdir.root} is a file; give a folder as --workdir"
                )
            if workdir.has(CONFIG):
                workdir._refuse_another_experiment(json.loads(config_json))
            if workdir.has(ENVIRONMENT):
                before = workdir._read_object(ENVIRONMENT)
                earlier = [*before.pop("earlier", []), before]
            workdir.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise workdir._unwritable(error) from error
        workdir.write_text(CONFIG, config_json.rstrip("\n") + "\n")
        workdir.write_json(ENVIRONMENT, {**environment, "earlier": earlier})
        return workdir

    def path(self, name: str) -> Path:
        """Returns the path of an artefact, which may be missing."""
        return self.root / name

    def has(self, name: str) -> bool:
        """Returns whether an artefact exists."""
        return self.path(name).exists()

    def stage_done(self, stage: str) -> bool:
        """Returns whether a stage, one of STAGES, has written its last artefact."""
        return self.has(STAGES[stage])

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

    def _refuse_another_experiment(self, config: Any) -> None:
        changed = differences(self._read_object(CONFIG), config)
        if changed:
            raise WorkdirError(
                f"workdir {self.root} belongs to another experiment: "
                f"{'; '.join(changed)}. Give a new --workdir, or the same config"
            )

    def _read_object(self, name: str) -> dict[str, Any]:
        value = self.read_json(name)
        if not isinstance(value, dict):
            raise WorkdirError(
                f"{self.path(name)} is not a JSON object; give a new --workdir"
            )
        return value

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
        command: The command line, the program first.
        seed: Seed of the experiment.
    """
    import jax

    device = jax.devices()[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "seed": seed,
        "nas_jax": nas_jax.__version__,
        "git_commit": git_commit(Path(nas_jax.__file__).parent.parent),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "backend": device.platform,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
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
