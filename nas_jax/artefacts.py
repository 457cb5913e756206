"""What the JSON artefacts of a workdir hold: one schema, for writers and readers.

A file is one object with the fields of its class, and `made_from`. Loads no JAX.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, TypeVar

from nas_jax.errors import WorkdirError
from nas_jax.identity import MadeFrom

T = TypeVar("T")

# To remove it would hide what the rest of the folder was made beside.
REMEDY = "put back the file as it was written, or run again in a new --workdir"

_LABELS = {"npz": "path", "folder": "path", "tfds": "name"}
"""What names the images of a source; the other sources are named by themselves."""


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A file of a workdir; `made_from` is None where it does not record that."""

    made_from: MadeFrom | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Fields that contradict others, and what they must be."""
        yield from ()


@dataclass(frozen=True)
class Operation:
    """One row of prune.json: an operation, its scores and what became of it.

    Attributes:
        score: What it was kept or dropped for, higher is better; None where it was not
            scored or the score is not finite.
        score_std: Standard deviation of the score over repeats.
        scores: Each proxy's own figure; None where it is not finite.
        scores_std: Its standard deviation over repeats.
        round: The round that dropped it, or that scored it last, from 1; 0 for none.
        margin: Distance to the nearest score of the same edge and round with the other
            fate; None where there is none.
        reason: Why it has no score.
        offered: Whether pruning started with it; the others are no part of any figure.
    """

    cell: str
    edge: int
    source: int
    target: int
    name: str = field(metadata={"key": "operation"})
    kept: bool
    score: float | None
    score_std: float | None
    scores: dict[str, float | None]
    scores_std: dict[str, float | None]
    round: int
    margin: float | None
    reason: str = ""
    offered: bool = True

    def mistakes(self, pruning: Pruning) -> Iterator[tuple[str, str]]:
        """Fields that contradict others of the row or of the file."""
        for name in ("scores", "scores_std"):
            for key in getattr(self, name):
                if key not in pruning.proxies:
                    yield (
                        f"{name}.{key}",
                        f"is of no proxy; there are {pruning.proxies}",
                    )
        if self.kept and not self.offered:
            yield "kept", "must be false, because pruning did not start with it"
        if self.round > pruning.rounds:
            yield "round", f"must be at most {pruning.rounds}, the number of rounds"
        if self.score is not None and not self.round:
            yield "round", "must be 1 or more, because there is a score"
        if (self.margin or 0.0) < 0:
            yield "margin", "must be a distance, 0 or more"


@dataclass(frozen=True)
class Ranker:
    """A proxy, and the network and batch that it scored.

    `norm` is what batch normalisation did; empty for what the proxy's source says.
    """

    proxy: str
    network: dict[str, Any]
    batch_size: int
    norm: str = ""


@dataclass(frozen=True)
class Budget:
    """The bytes a search step might need on a device, and those that it needs now."""

    allowed: int
    target: str
    needed: int


@dataclass(frozen=True)
class Pruning(Artefact):
    """prune.json; it stopped at a level, at `keep` operations an edge or a budget.

    Attributes:
        kept: Operations that are left of the `total` that pruning started with, which
            may be a part of the space.
        distinct_images: Training images that differ from each other.
        meaning: What the strategy's numbers mean, in words.
        mask: What is left, as `SpaceMask.to_dict` gives it.
        mask_sha256: Of `mask`: one that was edited by hand is not taken.
    """

    space: str
    strategy: str
    level: float | None
    keep: int | None
    budget: Budget | None
    min_parametric: int
    kept: int
    total: int
    proxies: tuple[str, ...]
    rankers: tuple[Ranker, ...]
    repeats: int
    rounds: int
    candidates: int
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    peak_memory_bytes: float | None
    operations: tuple[Operation, ...]
    mask: dict[str, Any]
    mask_sha256: str
    kept_fraction: float
    seed: int
    distinct_images: int
    defects: bool = False
    meaning: dict[str, str] | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """See `Artefact.mistakes`."""
        if self.proxies != tuple(ranker.proxy for ranker in self.rankers):
            yield "rankers", "must be one for each of the proxies, in order"
        for index, operation in enumerate(self.operations):
            for path, text in operation.mistakes(self):
                yield f"operations[{index}].{path}", text
        offered = sum(operation.offered for operation in self.operations)
        if self.total != offered:
            yield (
                "total",
                f"must be the {offered} operations listed that pruning started with",
            )
        if (self.level, self.keep, self.budget) == (None, None, None):
            yield "level", "is null, and there is no keep or budget either"
        marked = sum(operation.kept for operation in self.operations)
        if self.kept != marked:
            yield "kept", f"must be the {marked} operations marked as kept"


@dataclass(frozen=True)
class CellGenotype:
    """The chosen `(operation, source state)` pairs of a cell, and what it outputs."""

    edges: tuple[tuple[str, int], ...]
    concat: tuple[int, ...]


@dataclass(frozen=True)
class SearchDecision:
    """How many genes the search decided; `warning` is empty where they are most.

    The figures after it are those of `nas_jax.oneshot.Decision`.
    """

    decided: int
    genes: int
    text: str
    warning: str
    moved: float | None = None
    noise: float | None = None
    walk: float | None = None
    largest: float | None = None
    even: float | None = None


@dataclass(frozen=True)
class ChosenCells(Artefact):
    """genotype.json.

    Attributes:
        genotype: As `Genotype.to_dict` gives it.
        text: The same in DARTS' notation.
        facts: What is known of it in its space, such as its index in a benchmark.
        probabilities: Weights `[edges, operations]` at the end of the search, by cell.
        platform: Where the search ran.
        memory: Bytes of its compiled step, by kind.
    """

    space: str
    genotype: dict[str, Any]
    text: str
    facts: dict[str, float]
    probabilities: dict[str, Any]
    seconds: dict[str, float]
    platform: str
    memory: dict[str, float]
    parameters: int | None = None
    decision: SearchDecision | None = None

    @functools.cached_property
    def cells(self) -> dict[str, CellGenotype]:
        """The cells by name."""

        def read(kind: Any, key: str) -> Any:
            value = self.genotype.get(key)
            return from_json(kind, value, "genotype.json", f"genotype.{key}")

        return {
            name: CellGenotype(
                read(tuple[tuple[str, int], ...], name),
                read(tuple[int, ...], f"{name}_concat"),
            )
            for name in self.genotype
            if not name.endswith("_concat")
        }

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Raises WorkdirError itself where a cell is malformed."""
        assert self.cells is not None
        yield from ()


@dataclass(frozen=True)
class Memory(Artefact):
    """memory.json: bytes of the compiled search step, by kind, before and after."""

    target: str
    dtype: str
    batch_size: int
    channels: int
    layers: int
    unpruned: dict[str, float]
    pruned: dict[str, float]
    remat: str = ""
    seconds: float = 0.0

    @property
    def sizes(self) -> dict[str, int]:
        """What the bytes depend on."""
        names = ("batch_size", "channels", "layers")
        return {name: getattr(self, name) for name in names}

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """See `Artefact.mistakes`."""
        for side in ("unpruned", "pruned"):
            if "peak_bytes" not in getattr(self, side):
                yield f"{side}.peak_bytes", "is missing"


@dataclass(frozen=True)
class Retraining(Artefact):
    """retrain.json: what became of a genotype that was trained from scratch."""

    genotype: str
    test_accuracy: float | None
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Summary(Artefact):
    """summary.json: what was found, and what it cost."""

    name: str
    seed: int | None
    test_accuracy: float | None
    num_test: int | None
    parameters: int | None
    genotype: str
    seconds: dict[str, float]
    kept_fraction: float | None = None
    peak_memory_bytes: dict[str, float] | None = None


@dataclass(frozen=True)
class Data:
    """The images of a run, in environment.json; None for what is not recorded.

    Attributes:
        source: Kind of source, such as npz.
        path: The file or folder.
        name: Of the tfds data set.
        image_shape: `(H, W, C)`; empty where it is not recorded.
        sha256: Of all images and labels.
    """

    source: str = ""
    path: str = ""
    name: str = ""
    num_train: int | None = None
    num_test: int | None = None
    num_classes: int | None = None
    image_shape: tuple[int, ...] = ()
    sha256: str = ""

    @property
    def label(self) -> str:
        """Name of the file, folder or data set; empty for a source that needs none."""
        label = str(getattr(self, _LABELS.get(self.source, ""), ""))
        return label if self.source == "tfds" else PurePath(label).name


def to_json(artefact: Any) -> dict[str, Any]:
    """The object of a file; what a reader would take for granted is left out."""
    return {
        item.metadata.get("key", item.name): _plain(value)
        for item in dataclasses.fields(artefact)
        if (value := getattr(artefact, item.name)) != item.default
    }


def read(path: Path, kind: type[T]) -> T | None:
    """The artefact of a file; None where there is no such file.

    Raises:
        WorkdirError: It is malformed. Names the file, the field, its value and what is
            allowed; of text that is no JSON the line.
    """
    value = read_object(path)
    return None if value is None else checked(value, kind, path.name)


def checked(value: Any, kind: type[T], file: str) -> T:
    """An artefact of a JSON value, its fields in accord; see `read`."""
    artefact: T = from_json(kind, value, file)
    if isinstance(artefact, Artefact):
        for where, text in artefact.mistakes():
            raise WorkdirError(f"{file}: {where} {text}; {REMEDY}")
    return artefact


def read_object(path: Path) -> dict[str, Any] | None:
    """The object of a JSON file; None where there is no such file.

    Raises:
        WorkdirError: It is no JSON object; names the file and the line.
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        value = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _not(path, line, "UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _not(path, error.lineno, f"valid JSON ({error.msg})") from error
    found: dict[str, Any] = from_json(dict[str, Any], value, path.name)
    return found


def _not(path: Path, line: int, what: str) -> WorkdirError:
    return WorkdirError(f"{path.name}, line {line}: not {what}; {REMEDY}")


def from_json(hint: Any, value: Any, file: str, path: str = "") -> Any:
    """A JSON value as a type: a dataclass, scalar, tuple, dict, or one of them or None.

    Whole numbers are 0 or more. A number that is not finite counts as None, which is
    what strict JSON has in its place.

    Args:
        hint: The type.
        value: What was read.
        file: For the message.
        path: Of the value in the file, for the message.

    Raises:
        WorkdirError: It is another type; names the file, the field and the value.
    """

    def expect(ok: bool, wanted: str) -> None:
        if not ok:
            shown = repr(value) if len(repr(value)) <= 60 else f"{value!r:.57}..."
            raise WorkdirError(
                f"{file}: {path or 'the value'} must be {wanted}, got {shown}; {REMEDY}"
            )

    def member(hint: Any, key: str | int) -> Any:
        where = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
        return from_json(hint, value[key], file, where.lstrip("."))

    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is Any:
        return value
    if origin is types.UnionType:
        if value is None or isinstance(value, float) and not math.isfinite(value):
            return None
        return from_json(arguments[0], value, file, path)
    if hint is MadeFrom:
        return MadeFrom.of(value)
    if hasattr(hint, "__dataclass_fields__"):
        expect(isinstance(value, dict), "an object")
        known = {}
        for name, (key, kind, optional) in _fields(hint).items():
            if key in value and not (optional and value[key] is None):
                known[name] = member(kind, key)
            elif not optional:
                where = f"{path}.{key}".lstrip(".")
                raise WorkdirError(f"{file}: {where} is missing; {REMEDY}")
        return hint(**known)
    if origin is dict:
        expect(isinstance(value, dict), "an object")
        return {key: member(arguments[1], key) for key in value}
    if origin is tuple:
        expect(isinstance(value, list), "an array")
        many = arguments[-1] is ...
        expect(many or len(value) == len(arguments), f"{len(arguments)} values")
        kinds = arguments[:1] * len(value) if many else arguments
        return tuple(member(kind, index) for index, kind in enumerate(kinds))
    if hint is int:
        whole = number and value >= 0 and value % 1 == 0
        expect(whole, "a whole number of at least 0")
        return int(value)
    if hint is float:
        expect(number, "a number")
        return value
    expect(isinstance(value, hint), {str: "a string", bool: "true or false"}[hint])
    return value


@functools.cache
def _fields(kind: Any) -> Mapping[str, tuple[str, Any, bool]]:
    """Key in the file, type, and whether it may be missing, by name."""
    hints = typing.get_type_hints(kind)
    return {
        item.name: (
            item.metadata.get("key", item.name),
            hints[item.name],
            item.default is not dataclasses.MISSING,
        )
        for item in dataclasses.fields(kind)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, MadeFrom):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    return value
