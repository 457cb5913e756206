"""What every field of a config may be, and the words for it."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

SOURCES = ("digits", "npz", "folder", "tfds", "synthetic")
SPACES = ("darts", "nasbench201", "s1", "s2", "s3", "s4")
STRATEGIES = (
    "zero_one_shot",
    "te_nas",
    "ete_nas",
    "zero_cost_pt",
    "sampled",
    "random",
)
REMATS = ("none", "op", "wave", "cell")
DTYPES = ("float32", "bfloat16")

_TYPES_IN_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
}


class Rule(NamedTuple):
    """What a value must be, in words and as a test."""

    allowed: str
    holds: Callable[[Any], bool]


def _one_of(names: tuple[str, ...]) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: value in names)


_SEED = Rule("from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)
_POSITIVE = Rule("more than 0", lambda value: value > 0)
_ONE_OR_MORE = Rule("1 or more", lambda value: value >= 1)
_NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0)
_FRACTION = Rule("more than 0 and less than 1", lambda value: 0 < value < 1)
_DECAY = Rule("0 or more and less than 1", lambda value: 0 <= value < 1)
_DECAYS = Rule(
    "numbers of 0 or more and less than 1",
    lambda value: all(0 <= number < 1 for number in value),
)
_LAYERS = Rule(
    "2 or more, for one normal and one reduction cell at least",
    lambda value: value >= 2,
)
# NAS-Bench-201 has stages, so its networks reduce with any number of cells in them.
_STAGE_CELLS = {"prune.layers": _NOT_NEGATIVE, "layers": _ONE_OR_MORE}
_PROXIES = Rule(
    'different names, as in \'("nwot","synflow")\'',
    lambda names: len(set(names)) == len(names) and all(map(str.isidentifier, names)),
)

# By path, or by its last part where the fields of that name share a rule. Those without
# one may have any value of their type.
RULES: dict[str, Rule] = {
    "seed": _SEED,
    "channels": _ONE_OR_MORE,
    "layers": _LAYERS,
    "epochs": _ONE_OR_MORE,
    "batch_size": _ONE_OR_MORE,
    "log_every": _ONE_OR_MORE,
    "weight_decay": _NOT_NEGATIVE,
    "gradient_clip": _POSITIVE,
    "data.source": _one_of(SOURCES),
    "data.image_size": _NOT_NEGATIVE,
    "data.test_fraction": _FRACTION,
    "data.crop_padding": _NOT_NEGATIVE,
    "data.cutout": _NOT_NEGATIVE,
    "data.num_train": _ONE_OR_MORE,
    "data.num_test": _ONE_OR_MORE,
    "data.num_classes": Rule("2 or more", lambda value: value >= 2),
    "space.name": _one_of(SPACES),
    "space.num_nodes": _ONE_OR_MORE,
    "prune.level": _DECAY,
    "prune.strategy": _one_of(STRATEGIES),
    "prune.keep": _NOT_NEGATIVE,
    "prune.min_parametric": _NOT_NEGATIVE,
    "prune.proxies": _PROXIES,
    "prune.channels": _NOT_NEGATIVE,
    "prune.layers": Rule(
        "0 for the strategy's own, or " + _LAYERS.allowed,
        lambda value: value == 0 or _LAYERS.holds(value),
    ),
    "prune.batch_size": _NOT_NEGATIVE,
    "prune.repeats": _NOT_NEGATIVE,
    "prune.rounds": _NOT_NEGATIVE,
    "prune.samples": _NOT_NEGATIVE,
    "prune.candidates_at_once": _NOT_NEGATIVE,
    "search.train_fraction": _FRACTION,
    "search.weight_learning_rate": _POSITIVE,
    "search.weight_learning_rate_min": _NOT_NEGATIVE,
    "search.weight_momentum": _DECAY,
    "search.alpha_learning_rate": _POSITIVE,
    "search.alpha_betas": _DECAYS,
    "search.alpha_weight_decay": _NOT_NEGATIVE,
    "search.remat": _one_of(REMATS),
    "search.dtype": _one_of(DTYPES),
    "search.microbatches": _ONE_OR_MORE,
    "retrain.learning_rate": _POSITIVE,
    "retrain.momentum": _DECAY,
}


def problems(config: Any) -> list[str]:
    """Returns one clause for each thing that is wrong: field, value, what is allowed.

    A rule between fields applies where each of them is right by itself.
    """
    found = []
    right = {}
    staged = getattr(config.space, "name", "") == "nasbench201"
    rules = RULES | _STAGE_CELLS if staged else RULES
    for path, value, annotation in field_values(config, ""):
        rule = _find(path, rules)
        if not _has_type(value, annotation):
            found.append(f"{path} is {value!r}: it must be {type_in_words(annotation)}")
        elif rule and not rule.holds(value):
            found.append(f"{path} is {value!r}: it must be {rule.allowed}")
        else:
            right[path] = value
    source = right.get("data.source")
    if source in ("npz", "folder") and right.get("data.path") == "":
        found.append(f"data.path is '': source {source!r} needs a path")
    if source == "tfds" and right.get("data.name") == "":
        found.append("data.name is '': source 'tfds' needs the name of a data set")
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


def allowed(path: str) -> str:
    """Returns what a field must be, in words; empty where its type is all there is."""
    rule, staged = _find(path, RULES), _find(path, RULES | _STAGE_CELLS)
    if rule is None:
        return ""
    if rule is staged or staged is None:
        return rule.allowed
    return f"{rule.allowed}; in nasbench201 {staged.allowed}"


def _find(path: str, rules: Mapping[str, Rule]) -> Rule | None:
    return rules.get(path) or rules.get(path.rpartition(".")[2])


def type_in_words(annotation: Any) -> str:
    """Returns what a value of an annotated type is called in a message."""
    arguments = typing.get_args(annotation)
    if not arguments:
        return _TYPES_IN_WORDS.get(annotation, f"a {annotation.__name__}")
    count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
    return f"a tuple of {count}values, each {type_in_words(arguments[0])}"


def field_values(config: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yields path, value and annotated type of every field that holds a value."""
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(f.type) and _has_type(value, f.type):
            yield from field_values(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value, f.type


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
