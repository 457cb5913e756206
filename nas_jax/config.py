"""The configuration of an experiment: nested dataclasses, checked as a whole.

What --help says of a field stands under `Attributes:` in the docstrings below; what it
may be stands in `config_rules.py`.

A file in `configs/` returns an `ExperimentConfig`; the command line overrides single
fields (`--config.search.epochs=3`). Only `nas_jax.cli` and `configs/` read this module:
everything below takes plain values.

Sources of the defaults: DARTS (Liu et al. 2019, arXiv 1806.09055; `cnn/train_search.py`
and `cnn/train.py` of its code) and Zero-One-Shot NAS (arXiv 2505.13586).
"""

# No `from __future__ import annotations` here: ml_collections reads a field's type from
# the dataclass to parse its override, and would get a string.

import dataclasses
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nas_jax.config_rules import allowed, field_values, problems
from nas_jax.errors import ConfigError
from nas_jax.jsonable import differences, dumps


@dataclass
class DataConfig:
    """Where the images come from and how the training step augments them.

    Attributes:
        source: Where the images are, or how they are made.
        path: File (npz) or folder of class folders (folder); unused by the others.
        name: Name of the tfds data set; unused by the others.
        image_size: Height and width in pixels. Folder: images are resized to it, and 0
            means that they are equal already. Synthetic: 0 means 32.
        test_fraction: Fraction of all images held out as the test set (digits, folder).
        seed: Draws the held-out images, and the images of the synthetic source.
        crop_padding: Pixels of zero padding before a random crop; 0 is no crop. DARTS
            uses 4 on CIFAR.
        flip: Whether to mirror images left to right at random. DARTS does on CIFAR.
        cutout: Side in pixels of a random square set to zero; 0 is none. DARTS uses 16
            to retrain on CIFAR and none to search.
        num_train: Training images (synthetic).
        num_test: Test images (synthetic).
        num_classes: Classes (synthetic).
        channels: Channels of an image (synthetic).
    """

    source: str = "digits"
    path: str = ""
    name: str = ""
    image_size: int = 0
    test_fraction: float = 0.2
    seed: int = 0
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    num_train: int = 512
    num_test: int = 256
    num_classes: int = 10
    channels: int = 3


@dataclass
class SpaceConfig:
    """The search space.

    Attributes:
        name: Which space. "s1" to "s4" are the parts of DARTS' space in which its
            search fails (Zela et al. 2020, arXiv 1909.09656).
        num_nodes: Computed nodes of each cell. DARTS has 4; fewer make a small space,
            as for a smoke test. Other spaces have 4 alone.
        mask: Path of a mask JSON to start from; empty is the full space.
    """

    name: str = "darts"
    num_nodes: int = 4
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
        layers: Cells of the scored network; of each of three stages in "nasbench201".
        batch_size: Images in a scored batch.
        repeats: Initialisations and batches that a score is averaged over.
        rounds: Rounds of scoring and removing (zero_one_shot).
        samples: Random architectures (sampled).
        defects: Whether ete_nas scores operations as its public code does, see
            `nas_jax.pruning.ete_nas`.
        candidates_at_once: Candidates that a device scores side by side; more need
            more memory. 0 is 1 on a CPU and 8 on an accelerator.
    """

    strategy: str = "zero_one_shot"
    level: float = 0.5
    keep: int = 0
    budget: str = ""
    budget_target: str = "h100"
    min_parametric: int = 0
    proxies: tuple[str, ...] = ()
    channels: int = 0
    layers: int = 0
    batch_size: int = 0
    repeats: int = 0
    rounds: int = 0
    samples: int = 0
    defects: bool = False
    candidates_at_once: int = 0


@dataclass
class SearchConfig:
    """One-shot search; defaults from DARTS' `cnn/train_search.py`.

    Attributes:
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

    channels: int = 16
    layers: int = 8
    epochs: int = 50
    batch_size: int = 64
    train_fraction: float = 0.5
    weight_learning_rate: float = 0.025
    weight_learning_rate_min: float = 0.001
    weight_momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    alpha_learning_rate: float = 3e-4
    alpha_betas: tuple[float, float] = (0.5, 0.999)
    alpha_weight_decay: float = 1e-3
    remat: str = "op"
    dtype: str = "float32"
    microbatches: int = 1
    log_every: int = 50


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

    channels: int = 36
    layers: int = 20
    epochs: int = 600
    batch_size: int = 96
    learning_rate: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_clip: float = 5.0
    log_every: int = 50


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
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    space: SpaceConfig = field(default_factory=SpaceConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)

    def validate(self) -> None:
        """Checks every field.

        Raises:
            ConfigError: Something is wrong; the one message lists all that is.
        """
        found = problems(self)
        if found:
            raise ConfigError(
                f"{len(found)} problem{'s' * (len(found) > 1)} in the config: "
                f"{'; '.join(found)}. Change the config file, or pass "
                "--config.FIELD=VALUE"
            )

    def to_json(self) -> str:
        """Returns the config as JSON text, equal for equal configs."""
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
        type: Annotated type.
        default: Default value.
        meaning: What the config's docstring says of it.
        allowed: What the value must be, in words; empty for anything of its type.
    """

    type: Any
    default: Any
    meaning: str
    allowed: str


def diff(old: ExperimentConfig, new: ExperimentConfig) -> list[str]:
    """Returns one line `path: old value, now new value` for each field that differs."""
    return differences(dataclasses.asdict(old), dataclasses.asdict(new))


def config_fields() -> dict[str, ConfigField]:
    """Returns every field that holds a value, by its dotted path, in order."""
    told = {
        section + name: meaning
        for section, config_type in _sections().items()
        for name, meaning in attributes(config_type).items()
    }
    return {
        path: ConfigField(annotation, value, told.get(path, ""), allowed(path))
        for path, value, annotation in field_values(ExperimentConfig(), "")
    }


def config_sections() -> dict[str, str]:
    """Returns what the docstring of each section says of the whole, by its name."""
    return {
        section.rstrip("."): " ".join(_parts(config_type)[0].split())
        for section, config_type in _sections().items()
        if section
    }


def attributes(documented: type) -> dict[str, str]:
    """Returns what the `Attributes:` of a Google docstring say, each on one line.

    Args:
        documented: A class; without a docstring, as under `python -OO`, there are none.
    """
    found: dict[str, str] = {}
    for name, line in re.findall(
        r"^(?: {4}(\w+): )?(.*\S)", _parts(documented)[1], re.MULTILINE
    ):
        key = name or list(found)[-1]
        found[key] = f"{found[key]} {line.strip()}" if key in found else line
    return found


def _parts(documented: type) -> tuple[str, str]:
    """What stands before `Attributes:` in a docstring, and what stands below it."""
    text = inspect.cleandoc(documented.__doc__ or "")
    before, _, below = text.partition("\nAttributes:\n")
    return before, below.partition("\n\n")[0]


def _sections() -> dict[str, type]:
    """Config dataclasses by the prefix of their fields' paths, the whole config first.

    They are one level deep.
    """
    whole = dataclasses.fields(ExperimentConfig)
    inside = {f"{f.name}.": f.type for f in whole if dataclasses.is_dataclass(f.type)}
    return {"": ExperimentConfig, **inside}  # type: ignore[dict-item]


def _build(config_type: Any, tree: Any, path: str) -> Any:
    """Builds a config dataclass from what JSON parsed to."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path} is {tree!r}: it must be an object with fields")
    types = {f.name: f.type for f in dataclasses.fields(config_type)}
    unknown = [name for name in tree if name not in types]
    if unknown:
        raise ConfigError(
            f"unknown fields {', '.join(unknown)}: {path} has {', '.join(types)}"
        )
    arguments = {}
    for name, value in tree.items():
        if dataclasses.is_dataclass(types[name]):
            arguments[name] = _build(types[name], value, f"{path}.{name}")
        else:
            arguments[name] = tuple(value) if isinstance(value, list) else value
    return config_type(**arguments)
