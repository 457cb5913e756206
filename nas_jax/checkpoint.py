"""Checkpoints of a state: saved whole, verified before they are read.

The only module that imports Orbax. A checkpoint is a folder named after its step, with
what Orbax wrote, the structure of the state, what it was made from, and a digest of
every file: Orbax by itself reads an array with a flipped bit, or of another dtype,
without complaint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from logging import INFO, LogRecord
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

# Orbax's v1 API is an attribute: `import orbax.checkpoint.v1` fails.
from orbax.checkpoint import v1 as ocp

from nas_jax.errors import CheckpointError
from nas_jax.identity import MadeFrom
from nas_jax.paths import local_path

_ARRAYS = "arrays"
_STRUCTURE = "structure.json"
_MADE_FROM = "made_from.json"
_DIGESTS = "digests.json"
_UNFINISHED = ".saving-"
_STEP = re.compile("0|[1-9][0-9]*")


class Checkpoints:
    """The checkpoints of a run, of which the newest few are kept.

    For one process at a time. Nothing in a checkpoint is a pickle.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        keep: int = 2,
        made_from: MadeFrom | None = None,
    ) -> None:
        """Names the folder of the checkpoints.

        Args:
            made_from: What the run's states are made from, where checkpoints of
                another making are to be refused.
            keep: Number of checkpoints to keep, 1 or more. With 2, a run can still
                resume when the newest one turns out to be damaged.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}: it must be 1 or more")
        self._directory = local_path(directory).absolute()
        self._keep = keep
        self._made_from = made_from
        logging.get_absl_logger().addFilter(_no_orbax_chatter)

    def save(self, step: int, state: Any) -> None:
        """Saves a state and waits until it is on the disk.

        A checkpoint gets its final name only when it is whole. Checkpoints of later
        steps are removed, because the run went back behind them; of the others the
        newest `keep` stay.

        Args:
            step: Number of steps taken so far, 0 or more.
            state: A pytree of arrays; typed PRNG keys are arrays.

        Raises:
            CheckpointError: A leaf is not an array that JAX can hold, or the folder
                cannot be written; the checkpoints from before are unchanged then.
        """
        leaves = {name: _array(name, leaf) for name, leaf in _named(state).items()}
        unfinished = self._directory / f"{_UNFINISHED}{step}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for leftover in self._directory.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(leftover)
            unfinished.mkdir()
            _write(unfinished, leaves, self._made_from)
            self._remove(step)
            unfinished.rename(self._directory / str(step))
            _sync(self._directory)
            outdated = self._steps()
            outdated.remove(step)
            kept = [earlier for earlier in outdated if earlier < step][: self._keep - 1]
            for other in set(outdated) - set(kept):
                self._remove(other)
        # Orbax and TensorStore raise many types, plain Exception among them.
        except Exception as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise CheckpointError(
                f"cannot save checkpoint {self._directory / str(step)}: "
                f"{_first_line(error)}; give a --workdir that you may write to, on a "
                "disk with free space"
            ) from error

    def latest_step(self) -> int | None:
        """Returns the step of the newest undamaged checkpoint, None without any.

        Compares every file of it with its digest. A damaged checkpoint is skipped, and
        a warning is logged.
        """
        for step in self._steps():
            try:
                self._verify(step)
            except CheckpointError as error:
                logging.warning("%s; it is skipped", error)
            else:
                return step
        return None

    def refuse_others(self) -> None:
        """Refuses checkpoints that were made from something else; damaged ones pass.

        Raises:
            WorkdirError: Names the checkpoint and what changed.
        """
        for step in self._steps() if self._made_from else ():
            folder, stored = self._directory / str(step), None
            try:
                stored = json.loads((folder / _MADE_FROM).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                with contextlib.suppress(CheckpointError):
                    self._verify(step)
                    stored = {}
            if stored is not None and self._made_from is not None:
                made_from = MadeFrom.of(stored)
                self._made_from.refuse_others(f"checkpoint {folder}", made_from)

    def restore(self, abstract_state: Any, step: int | None = None) -> tuple[int, Any]:
        """Reads a checkpoint back, bit for bit.

        Args:
            abstract_state: Structure, shapes and dtypes to restore: a state, or what
                `jax.eval_shape` returned for one. Leaves with a sharding, and arrays
                committed to one, are restored to it. The others go to the default
                device, uncommitted as in a new state.
            step: The checkpoint to read; None reads the newest undamaged one.

        Returns:
            The step and the state.

        Raises:
            CheckpointError: There is no undamaged checkpoint, or its state is of
                another structure; the message names what differs.
            WorkdirError: A checkpoint was made from something else.
        """
        self.refuse_others()
        if step is not None:
            self._verify(step)
        elif (step := self.latest_step()) is None:
            raise CheckpointError(
                f"no undamaged checkpoint in {self._directory}; start the run anew"
            )
        folder = self._directory / str(step)
        _refuse_other_structure(folder, _structure(_named(abstract_state)))
        try:
            return step, _read(folder, abstract_state)
        except Exception as error:
            raise CheckpointError(
                f"cannot read checkpoint {folder}: {_first_line(error)}; remove it to "
                "resume from an earlier one"
            ) from error

    def _steps(self) -> list[int]:
        """Steps of all checkpoints, damaged or not, newest first."""
        if not self._directory.is_dir():
            return []
        names = [path.name for path in self._directory.iterdir()]
        return sorted((int(n) for n in names if _STEP.fullmatch(n)), reverse=True)

    def _remove(self, step: int) -> None:
        # Cut off halfway, this leaves a damaged checkpoint, which is skipped.
        if step in self._steps():
            shutil.rmtree(self._directory / str(step))

    def _verify(self, step: int) -> None:
        """Raises CheckpointError where a checkpoint is missing or damaged."""
        folder = self._directory / str(step)
        if not folder.is_dir():
            steps = ", ".join(map(str, self._steps())) or "none"
            raise CheckpointError(f"checkpoint {folder} is missing; there are: {steps}")
        try:
            digests = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
            changed = [
                n for n, digest in digests.items() if _digest(folder / n) != digest
            ]
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {_first_line(error)}"
            ) from error
        if changed:
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {', '.join(changed)} changed since "
                "it was saved"
            )


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def _array(name: str, leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array):
        return leaf
    if isinstance(leaf, np.ndarray | np.generic):
        array = jnp.asarray(leaf)
        if array.dtype == leaf.dtype:
            return array
    raise CheckpointError(
        f"{name} is of type {getattr(leaf, 'dtype', type(leaf).__name__)}: a "
        "checkpoint holds JAX arrays; convert it with jnp.asarray"
    )


def _structure(leaves: dict[str, Any]) -> dict[str, str]:
    """Dtype and shape of each leaf, as in `float32[3,3]`."""
    return {
        name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for name, leaf in leaves.items()
    }


def _refuse_other_structure(folder: Path, wanted: dict[str, str]) -> None:
    saved = json.loads((folder / _STRUCTURE).read_text(encoding="utf-8"))
    differing = [
        f"{name} is {saved.get(name, 'missing')}, wanted {wanted.get(name, 'nothing')}"
        for name in dict.fromkeys([*wanted, *saved])
        if saved.get(name) != wanted.get(name)
    ]
    if differing:
        more = f" and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise CheckpointError(
            f"checkpoint {folder} is of another state: {'; '.join(differing[:4])}"
            f"{more}. Use the config that it was made with, or a new --workdir"
        )


def _write(
    folder: Path, leaves: dict[str, jax.Array], made_from: MadeFrom | None
) -> None:
    # Orbax saves neither arrays of size zero nor trees without arrays.
    stored = {name: leaf for name, leaf in leaves.items() if leaf.size}
    if stored:
        ocp.save(folder / _ARRAYS, stored)
    _write_json(folder / _STRUCTURE, _structure(leaves))
    if made_from is not None:
        _write_json(folder / _MADE_FROM, made_from.to_dict())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): _digest(path) for path in files}
    _write_json(folder / _DIGESTS, digests)


def _read(folder: Path, abstract_state: Any) -> Any:
    wanted = _named(abstract_state)
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    stored = {
        name: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=_sharding(leaf) or default
        )
        for name, leaf in wanted.items()
        if leaf.size
    }
    arrays = ocp.load(folder / _ARRAYS, stored) if stored else {}
    leaves = []
    for name, leaf in wanted.items():
        array = arrays[name] if leaf.size else jnp.zeros(leaf.shape, leaf.dtype)
        free = leaf.size and _sharding(leaf) is None
        leaves.append(_uncommitted(array) if free else array)
    return jax.tree.unflatten(jax.tree.structure(abstract_state), leaves)


def _sharding(leaf: Any) -> jax.sharding.Sharding | None:
    """Where a leaf must go, None where JAX may choose."""
    if isinstance(leaf, jax.Array) and not leaf.committed:
        return None
    return getattr(leaf, "sharding", None)


def _uncommitted(array: jax.Array) -> jax.Array:
    """The same array without a fixed device, which JAX may move next to others."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = jnp.array(np.asarray(jax.random.key_data(array)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    return jnp.array(np.asarray(array))


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Makes a renaming in a folder outlive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_orbax_chatter(record: LogRecord) -> bool:
    """Keeps a log record unless it is one of the fifty that Orbax writes per save."""
    return record.levelno > INFO or "/orbax/" not in record.pathname


def _first_line(error: Exception) -> str:
    """The first line of an error, cut short: TensorStore's fill a screen."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
