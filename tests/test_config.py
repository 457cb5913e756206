"""The config: defaults that DARTS' code has, one error for all mistakes, JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.config import (
    ExperimentConfig,
    SearchConfig,
    attributes,
    config_fields,
    problems,
)
from nas_jax.data import SOURCES, Source
from nas_jax.errors import ConfigError

# A field without a rule takes any value of its type. One that is forgotten shows here.
WITHOUT_RULE = {
    "name",
    "data.path",
    "data.name",
    "data.flip",
    "space.mask",
    # Checked where targets are known.
    "prune.budget",
    "prune.budget_target",
    "prune.defects",
}


def set_field(config: ExperimentConfig, path: str, value: Any) -> None:
    *sections, name = path.split(".")
    target: Any = config
    for section in sections:
        target = getattr(target, section)
    setattr(target, name, value)


def test_every_field_has_a_rule_or_needs_none_and_obeys_it() -> None:
    fields = config_fields()
    assert {path for path, field in fields.items() if not field.rule} == WITHOUT_RULE
    # The check passes a default over.
    for path, field in fields.items():
        assert field.rule is None or field.rule.holds(field.default), path


def test_docstrings_describe_every_field_and_nothing_else() -> None:
    sections = [f.type for f in dataclasses.fields(ExperimentConfig)]
    for config_type in [ExperimentConfig, *filter(dataclasses.is_dataclass, sections)]:
        told = attributes(config_type)
        assert list(told) == [f.name for f in dataclasses.fields(config_type)]
        for name, meaning in told.items():
            assert meaning.endswith(".") and len(meaning) > 6, name
    for path, field in config_fields().items():
        assert field.meaning, path


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("seed", -1, "from 0 to"),
        ("data.source", "cifar", "one of digits, folder, npz, synthetic, tfds"),
        ("data.test_fraction", 0.0, "more than 0 and less than 1"),
        ("data.flip", 1, "true or false"),
        ("prune.level", 1.0, "0 or more and less than 1"),
        ("prune.proxies", ("snip", "snip"), "different names"),
        ("prune.proxies", ["snip"], "a tuple of values, each a text"),
        ("prune.strategy", "darts", "one of zero_one_shot, te_nas"),
        ("search.epochs", 0, "1 or more"),
        ("search.weight_decay", math.nan, "a finite number"),
        ("search.weight_decay", "3e-4", "a finite number"),
        ("search.alpha_betas", (0.5, 1.0), "numbers of 0 or more and less than 1"),
        ("search.alpha_betas", (0.5,), "a tuple of 2 values, each a finite number"),
        ("search.remat", "waves", "one of none, op, wave, cell"),
        ("search.microbatches", 7, "a divisor of search.batch_size, 64"),
        ("name", None, "a text"),
        ("retrain", SearchConfig(), "a RetrainConfig"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(
    path: str, value: Any, allowed: str
) -> None:
    config = ExperimentConfig()
    set_field(config, path, value)
    (problem,) = problems(config)
    assert problem.startswith(f"{path} is {value!r}: it must be ")
    assert allowed in problem


@pytest.mark.parametrize("source", SOURCES.values(), ids=lambda source: source.name)
def test_source_says_which_fields_it_needs(source: Source) -> None:
    config = ExperimentConfig()
    config.data.source = source.name
    assert [line.split()[0] for line in problems(config)] == [
        f"data.{field}" for field in source.needs
    ]
    for field in source.needs:
        setattr(config.data, field, "something")
    assert problems(config) == []


def test_one_error_lists_every_problem() -> None:
    config = ExperimentConfig()
    config.data.source = "npz"
    config.search.epochs = 0
    config.prune.level = 2.0
    config.search.weight_learning_rate_min = 1.0
    with pytest.raises(ConfigError) as caught:
        config.validate()
    message = str(caught.value)
    assert message.startswith("4 problems in the config: ")
    for part in (
        "data.path",
        "search.epochs is 0",
        "prune.level is 2.0",
        "weight_learning_rate_min is 1.0",
        "--config.FIELD=VALUE",
    ):
        assert part in message
    assert "\n" not in message


@given(
    st.builds(
        ExperimentConfig,
        name=st.text(),
        seed=st.integers(0, 2**32 - 1),
        search=st.builds(
            SearchConfig,
            epochs=st.integers(1, 10**6),
            weight_decay=st.floats(0, 1e300),
            alpha_betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        ),
    )
)
def test_json_round_trip_is_exact(config: ExperimentConfig) -> None:
    text = config.to_json()
    restored = ExperimentConfig.from_json(text)
    assert restored == config
    assert restored.to_json() == text
    assert problems(restored) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not JSON"),
        ('{"search": 3}', "config.search is 3: it must be an object"),
        ('{"sed": 1}', "unknown fields sed: config has name, seed, data"),
        (
            '{"search": {"epoch": 1, "lr": 2}}',
            "unknown fields epoch, lr: config.search has algorithm, channels",
        ),
    ],
)
def test_wrong_json_is_one_clear_error(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.from_json(text)
    assert expected in str(caught.value)
