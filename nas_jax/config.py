"""The configuration of an experiment: nested dataclasses, checked as a whole.

A field's rule stands beside it, and what it means under `Attributes:` of its class: the
help texts, the checks and their messages read both from here. Names of what can be
registered (sources, spaces, strategies) are read from their registries.

A file in `configs/` returns an `ExperimentConfig`; the command line overrides single
fields (`--config.search.epochs=3`). Only `nas_jax.cli` and `configs/` read this module:
everything below takes plain values.

Sources of the defaults: DARTS (Liu et al. 2019, arXiv 1806.09055; `cnn/train_search.py`
and `cnn/train.py` of its code) and Zero-One-Shot NAS (arXiv 2505.13586).
"""

# No `from __future__ import annotations` here: ml_collections reads a field's type from
# the dataclass to parse its override, and would get a string.

import dataclasses
import importlib
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas_jax.errors import ConfigError
from nas_jax.jsonable import dumps


class Rule(NamedTuple):
    """What a value must be beside its type, in words and as a test."""

    allowed: str
    holds: Callable[[Any], bool]


class OneOf(NamedTuple):
    """A rule: a name in a registry, which is imported only where it is asked.

    Attributes:
        module: Where the registry is.
        registry: A mapping or tuple there, or a function that returns one.
        several: Whether the value is a tuple of such names, each once.
    """

    module: str
    registry: str
    several: bool = False

    @property
    def titles(self) -> dict[str, str]:
        """Names in the registry's order, each with what it says of itself, if it does.

        `register_*` fill the registry, so it is looked up each time.
        """
        found = getattr(importlib.import_module(self.module), self.registry)
        found = found() if callable(found) else found
        entries = found if isinstance(found, Mapping) else dict.fromkeys(found)
        # A plain text has a method of that name.
        titles = {name: getattr(e, "title", "") for name, e in entries.items()}
        return {n: t if isinstance(t, str) else "" for n, t in titles.items()}

    @property
    def allowed(self) -> str:
        """The names in words."""
        names = ", ".join(self.titles)
        if self.several:
            return f'different names, as in \'("a","b")\', of {names}'
        return f"one of {names}"

    def holds(self, value: Any) -> bool:
        """Whether it is one of the names, or several."""
        values = value if self.several else (value,)
        return len(set(values)) == len(values) and set(values) <= set(self.titles)


SEED = Rule("from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)
POSITIVE = Rule("more than 0", lambda value: value > 0)
ONE_OR_MORE = Rule("1 or more", lambda value: value >= 1)
TWO_OR_MORE = Rule("2 or more", lambda value: value >= 2)
NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0)
FRACTION = Rule("more than 0 and less than 1", lambda value: 0 < value < 1)
DECAY = Rule("0 or more and less than 1", lambda value: 0 <= value < 1)
DECAYS = Rule(
    "numbers of 0 or more and less than 1",
    lambda value: all(map(DECAY.holds, value)),
)


def ruled(default: Any, rule: Rule | OneOf) -> Any:
    """A field whose value has to obey a rule; one without may be all of its type."""
    return field(default=default, metadata={"rule": rule})


@dataclass
class DataConfig:
    """Where the images come from and how the training step augments them.

    Attributes:
        source: Where the images are, or how they are made.
        path: File or folder of the images.
        name: Name of the data set.
        image_size: Height and width in pixels; 0 is the source's own.
        test_fraction: Fraction of all images held out as the test set.
        seed: Draws the held-out images, or the images themselves.
        crop_padding: Pixels of zero padding before a random crop; 0 is no crop. DARTS
            uses 4 on CIFAR.
        flip: Whether to mirror images left to right at random. DARTS does on CIFAR.
        cutout: Side in pixels of a random square set to zero; 0 is none. DARTS uses 16
            to retrain on CIFAR and none to search.
        num_train: Training images to make.
        num_test: Test images to make.
        num_classes: Classes to make.
        channels: Channels of the images to make.
    """

    source: str = ruled("digits", OneOf("nas_jax.data", "SOURCES"))
    path: str = ""
    name: str = ""
    image_size: int = ruled(0, NOT_NEGATIVE)
    test_fraction: float = ruled(0.2, FRACTION)
    seed: int = ruled(0, SEED)
    crop_padding: int = ruled(0, NOT_NEGATIVE)
    flip: bool = False
    cutout: int = ruled(0, NOT_NEGATIVE)
    num_train: int = ruled(512, ONE_OR_MORE)
    num_test: int = ruled(256, ONE_OR_MORE)
    num_classes: int = ruled(10, TWO_OR_MORE)
    channels: int = ruled(3, ONE_OR_MORE)


@dataclass
class SpaceConfig:
    """The search space.

    Attributes:
        name: Which space.
        num_nodes: Computed nodes of each cell. DARTS has 4; fewer make a small space,
            as for a smoke test. Other spaces have 4 alone.
        mask: Path of a mask JSON to start from; empty is the full space.
    """

    name: str = ruled("darts", OneOf("nas_jax.spaces", "SPACES"))
    num_nodes: int = ruled(4, ONE_OR_MORE)
    mask: str = ""


@dataclass
class PruneConfig:
    """Zero-shot pruning, the first stage of arXiv 2505.13586.

    Where 0 or an empty value is allowed, it means the strategy's own; docs/pruning.md
    has a table of them.

    Attributes:
        strategy: How operations are chosen.
        level: Share to remove of the operations that each edge has, the paper's xi.
            The paper removes about half of the space.
        keep: Operations that an edge keeps, instead of a level; 0 is by level.
        budget: Device memory that the search step may need, such as "2GiB": operations
            go until the compiled step fits, instead of a level; empty is by level.
        budget_target: The device whose compiler measures the step, as `nas-jax memory`
            has it.
        min_parametric: Convolutions that each node keeps on its incoming edges,
            whatever their scores.
        proxies: Names of the training-free scores that rank (zero_one_shot, sampled,
            ete_nas).
        channels: Initial channels of the scored network.
        layers: Cells of the scored network, as `search.layers` counts them.
        batch_size: Images in a scored batch.
        repeats: Initialisations and batches that a score is averaged over.
        rounds: Rounds of scoring and removing (zero_one_shot).
        samples: Random architectures (sampled).
        defects: Whether ete_nas scores operations as its public code does, see
            `nas_jax.pruning.ete_nas`.
        candidates_at_once: Candidates that a device scores side by side; more need
            more memory. 0 is 1 on a CPU and 8 on an accelerator.
    """

    strategy: str = ruled("zero_one_shot", OneOf("nas_jax.pruning", "STRATEGIES"))
    level: float = ruled(0.5, DECAY)
    keep: int = ruled(0, NOT_NEGATIVE)
    budget: str = ""
    budget_target: str = "h100"
    min_parametric: int = ruled(0, NOT_NEGATIVE)
    proxies: tuple[str, ...] = ruled(
        (), OneOf("nas_jax.proxies", "list_proxies", several=True)
    )
    channels: int = ruled(0, NOT_NEGATIVE)
    layers: int = ruled(0, NOT_NEGATIVE)
    batch_size: int = ruled(0, NOT_NEGATIVE)
    repeats: int = ruled(0, NOT_NEGATIVE)
    rounds: int = ruled(0, NOT_NEGATIVE)
    samples: int = ruled(0, NOT_NEGATIVE)
    defects: bool = False
    candidates_at_once: int = ruled(0, NOT_NEGATIVE)


@dataclass
class SearchConfig:
    """One-shot search; defaults from DARTS' `cnn/train_search.py`.

    Attributes:
        algorithm: How weights and alphas are trained, and what becomes of them.
        channels: Initial channels of the supernet.
        layers: Cells of the supernet; those at layers // 3 and 2 * layers // 3 reduce.
            In "nasbench201" cells of each of three stages (published: 5).
        epochs: Passes over the half of the training set that trains the weights.
        batch_size: Images in a batch, for weights and for alphas alike.
        train_fraction: Fraction of the training set for the weights; the rest trains
            the alphas.
        weight_learning_rate: Start of the weights' cosine schedule.
        weight_learning_rate_min: End of the weights' cosine schedule.
        weight_momentum: Momentum of the weights' SGD.
        weight_decay: L2 penalty of the weights.
        gradient_clip: Largest global norm of the weights' gradient.
        alpha_learning_rate: Constant learning rate of the alphas' Adam.
        alpha_betas: Decay rates of the alphas' Adam.
        alpha_weight_decay: L2 penalty of the alphas.
        remat: What the backward pass computes again instead of storing it. DARTS
            stores everything. "op" runs and recomputes one operation at a time: the
            least memory and compile time, and on a CPU the fastest too.
        dtype: What convolutions compute in; parameters, statistics and the loss are
            float32 all the same.
        microbatches: Parts of a batch that are computed one after another, each
            normalised on its own; 1 is DARTS.
        log_every: Steps between two rows of search.jsonl.
    """

    algorithm: str = ruled("darts", OneOf("nas_jax.oneshot", "ALGORITHMS"))
    channels: int = ruled(16, ONE_OR_MORE)
    layers: int = ruled(8, ONE_OR_MORE)
    epochs: int = ruled(50, ONE_OR_MORE)
    batch_size: int = ruled(64, ONE_OR_MORE)
    train_fraction: float = ruled(0.5, FRACTION)
    weight_learning_rate: float = ruled(0.025, POSITIVE)
    weight_learning_rate_min: float = ruled(0.001, NOT_NEGATIVE)
    weight_momentum: float = ruled(0.9, DECAY)
    weight_decay: float = ruled(3e-4, NOT_NEGATIVE)
    gradient_clip: float = ruled(5.0, POSITIVE)
    alpha_learning_rate: float = ruled(3e-4, POSITIVE)
    alpha_betas: tuple[float, float] = ruled((0.5, 0.999), DECAYS)
    alpha_weight_decay: float = ruled(1e-3, NOT_NEGATIVE)
    remat: str = ruled("op", OneOf("nas_jax.networks", "REMATS"))
    dtype: str = ruled("float32", OneOf("nas_jax.networks", "DTYPES"))
    microbatches: int = ruled(1, ONE_OR_MORE)
    log_every: int = ruled(50, ONE_OR_MORE)


@dataclass
class RetrainConfig:
    """Training of the found network from scratch; defaults from DARTS' `cnn/train.py`.

    Attributes:
        channels: Initial channels of the network.
        layers: Cells of the network; those at layers // 3 and 2 * layers // 3 reduce.
            In "nasbench201" cells of each of three stages (published: 5).
        epochs: Passes over the whole training set.
        batch_size: Images in a batch.
        learning_rate: Start of the cosine schedule, which ends at 0.
        momentum: Momentum of SGD.
        weight_decay: L2 penalty of the weights.
        gradient_clip: Largest global norm of the gradient.
        log_every: Steps between two rows of retrain.jsonl.
    """

    channels: int = ruled(36, ONE_OR_MORE)
    layers: int = ruled(20, ONE_OR_MORE)
    epochs: int = ruled(600, ONE_OR_MORE)
    batch_size: int = ruled(96, ONE_OR_MORE)
    learning_rate: float = ruled(0.025, POSITIVE)
    momentum: float = ruled(0.9, DECAY)
    weight_decay: float = ruled(3e-4, NOT_NEGATIVE)
    gradient_clip: float = ruled(5.0, POSITIVE)
    log_every: int = ruled(50, ONE_OR_MORE)


@dataclass
class ExperimentConfig:
    """Everything that defines an experiment.

    Attributes:
        name: Title of the experiment in the report.
        seed: Seed of initial weights, alphas, batches and augmentation.
        data: Images.
        space: Search space.
        prune: First stage.
        search: Second stage.
        retrain: Third stage.
    """

    name: str = "experiment"
    seed: int = ruled(0, SEED)
    data: DataConfig = field(default_factory=DataConfig)
    space: SpaceConfig = field(default_factory=SpaceConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)

    def validate(self) -> None:
        """Raises one ConfigError that lists all that is wrong."""
        if found := problems(self):
            raise ConfigError(
                f"{len(found)} problem{'s' * (len(found) > 1)} in the config: "
                f"{'; '.join(found)}. Change the config file, or pass "
                "--config.FIELD=VALUE"
            )

    def to_json(self) -> str:
        """The config as JSON text, equal for equal configs."""
        return dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "ExperimentConfig":
        """Reads what `to_json` wrote; fields that the text lacks get their defaults.

        Raises:
            ConfigError: The text is not JSON, or has fields that do not exist.
        """
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"the config is not JSON: {error}") from error
        return _build(cls, tree, "config")


class ConfigField(NamedTuple):
    """A field that holds a value.

    Attributes:
        value: The value in the config that was asked.
        meaning: What the docstring of its class says of it.
        rule: What the value must be; None for anything of its type.
    """

    type: Any
    default: Any
    value: Any
    meaning: str
    rule: Rule | OneOf | None


def config_fields(config: Any = None) -> dict[str, ConfigField]:
    """Every field that holds a value, by its dotted path, in order."""
    return dict(_fields(ExperimentConfig() if config is None else config, ""))


def _fields(config: Any, prefix: str) -> Iterator[tuple[str, ConfigField]]:
    told = attributes(type(config))
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(f.type) and _has_type(value, f.type):
            yield from _fields(value, f"{prefix}{f.name}.")
        else:
            said = told.get(f.name, ""), f.metadata.get("rule")
            yield prefix + f.name, ConfigField(f.type, f.default, value, *said)


def problems(config: ExperimentConfig) -> list[str]:
    """One clause for each thing that is wrong: field, value, what is allowed.

    A rule between fields applies where each of them is right by itself.
    """
    found = []
    right = {}
    for path, (kind, default, value, _, rule) in config_fields(config).items():
        if not _has_type(value, kind):
            found.append(f"{path} is {value!r}: it must be {type_in_words(kind)}")
        # A default obeys its rule: to know that, no registry is imported.
        elif rule and value != default and not rule.holds(value):
            found.append(f"{path} is {value!r}: it must be {rule.allowed}")
        else:
            right[path] = value
    found += _unfit_source(right)
    batch, parts = right.get("search.batch_size"), right.get("search.microbatches")
    if batch and parts and batch % parts:
        found.append(
            f"search.microbatches is {parts!r}: it must be a divisor of "
            f"search.batch_size, {batch}"
        )
    end = right.get("search.weight_learning_rate_min", 0.0)
    if end > right.get("search.weight_learning_rate", math.inf):
        found.append(
            f"search.weight_learning_rate_min is {end!r}: it must not be above "
            "search.weight_learning_rate"
        )
    return found


def _unfit_source(right: Mapping[str, Any]) -> list[str]:
    """What the source of the images lacks, as the source itself says."""
    source = right.get("data.source", "digits")
    if source == "digits":
        return []
    from nas_jax.data import SOURCES

    return [
        f"data.{name} is {right[f'data.{name}']!r}: source {source!r} needs {what}"
        for name, what in SOURCES[source].needs.items()
        if not right.get(f"data.{name}", True)
    ]


def used_by(path: str) -> list[str]:
    """Names of the data sources that read a field; none for all other fields."""
    from nas_jax.data import SOURCES

    section, _, name = path.partition(".")
    return [s.name for s in SOURCES.values() if section == "data" and name in s.uses]


def type_in_words(annotation: Any) -> str:
    """What a value of an annotated type is called in a message."""
    if arguments := typing.get_args(annotation):
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"a tuple of {count}values, each {type_in_words(arguments[0])}"
    words = {bool: "true or false", int: "a whole number", float: "a finite number"}
    return {**words, str: "a text"}.get(annotation, f"a {annotation.__name__}")


def _has_type(value: Any, annotation: Any) -> bool:
    """Whether a value has an annotated type; a whole number may stand for a float."""
    arguments = typing.get_args(annotation)
    if arguments:
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        return len(value) == len(arguments) and all(map(_has_type, value, arguments))
    if annotation is float:
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return numeric and math.isfinite(value)
    return type(value) is annotation


def config_sections() -> dict[str, str]:
    """What the docstring of each section says of the whole, by its name."""
    return {
        f.name: " ".join(_parts(f.type)[0].split())
        for f in dataclasses.fields(ExperimentConfig)
        if dataclasses.is_dataclass(f.type)
    }


def attributes(documented: type) -> dict[str, str]:
    """What the `Attributes:` of a Google docstring say, each on one line."""
    found: dict[str, str] = {}
    for name, line in re.findall(
        r"^(?: {4}(\w+): )?(.*\S)", _parts(documented)[1], re.MULTILINE
    ):
        key = name or list(found)[-1]
        found[key] = f"{found[key]} {line.strip()}" if key in found else line
    return found


def _parts(documented: Any) -> tuple[str, str]:
    """What stands before `Attributes:` in a docstring, and what stands below it."""
    text = inspect.cleandoc(documented.__doc__ or "")
    before, _, below = text.partition("\nAttributes:\n")
    return before, below.partition("\n\n")[0]


def _build(config_type: Any, tree: Any, path: str) -> Any:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path} is {tree!r}: it must be an object with fields")
    types = {f.name: f.type for f in dataclasses.fields(config_type)}
    unknown = [name for name in tree if name not in types]
    if unknown:
        raise ConfigError(
            f"unknown fields {', '.join(unknown)}: {path} has {', '.join(types)}"
        )
    arguments = {
        name: _build(types[name], value, f"{path}.{name}")
        if dataclasses.is_dataclass(types[name])
        else (tuple(value) if isinstance(value, list) else value)
        for name, value in tree.items()
    }
    return config_type(**arguments)
