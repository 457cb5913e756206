"""How many architectures a device gets side by side, and how many a call has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.cli.score.loop import DEFAULT_SHARE, MOST, Calls, choose_width
from nas_jax.cli.score.task import Task
from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch, ScoredNetwork
from nas_jax.scoring import Scorer


class Stub:
    """Calls whose peak is 10 bytes and 5 for each architecture side by side."""

    def __init__(self, memory: int) -> None:
        self.memory, self.ran = memory, []  # type: ignore[var-annotated]

    def scores(self, width: int, first: int) -> None:
        self.ran.append(width)
        if 10 + 5 * width > self.memory:
            raise ConfigError("too little memory")

    def peak_bytes(self, width: int) -> int:
        return 10 + 5 * width


def width(
    asked: int = 0,
    budget: int = 0,
    most: int = 1000,
    platform: str = "gpu",
    limit: int | None = 100,
    memory: int = 10**9,
) -> int:
    stub: Any = Stub(memory)
    return choose_width(stub, asked, budget, most, platform, limit)


def test_width_as_asked_and_on_a_cpu() -> None:
    assert width(asked=7) == 7
    assert width(asked=7, platform="cpu") == 7
    assert width(platform="cpu") == 1
    assert width(platform="cpu", budget=10**6) == 1


def test_width_that_fits_an_accelerator() -> None:
    assert width(budget=100) == 18
    assert width(budget=99) == 17
    # Three quarters of 100 bytes: 75 = 10 + 5 * 13.
    assert DEFAULT_SHARE == 0.75
    assert width() == 13
    assert width(most=4) == 4
    assert width(budget=10**9) == MOST
    assert width(budget=12) == 1
    assert width(budget=20) == 2
    # A budget above what the device has: a width that does not run is halved.
    assert width(budget=100, memory=60) == 9
    assert width(limit=None) == 1
    assert width(limit=None, budget=100) == 18


def linear(params: Any, gain: jax.Array) -> ScoredNetwork:
    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        return gain * jnp.tanh(images.reshape(len(images), -1) @ params)

    return ScoredNetwork(logits, params, jnp.ones(()))


def task(count: int) -> Task:
    """Networks that are scaled by the architecture's number, from 1."""
    family: Any = SimpleNamespace(scored=linear)
    gains = np.arange(1, count + 1, dtype=np.float32)
    batch = Batch(jnp.ones((32, 4, 4, 1)), jnp.arange(32) % 10)
    names = tuple(map(str, gains))
    params, key = jnp.ones((16, 10)), jax.random.key(0)
    return Task(family, params, names, gains, ("grad_norm",), batch, key, {}, {})


def test_width_of_compiled_programs() -> None:
    calls = Calls(task(40), chunk=16)
    for side_by_side in (1, 2):
        calls.scores(side_by_side, 0)
    one, two = calls.peak_bytes(1), calls.peak_bytes(2)
    assert two > one
    budget = one + 9 * (two - one) + 1
    found = choose_width(calls, 0, budget, 40, "gpu", None)
    assert 4 < found <= 10
    assert calls.peak_bytes(found) <= budget
    seconds = calls.compile_seconds
    calls.keep(found)
    wide = calls.scores(found, 0)
    assert calls.compile_seconds == seconds  # It was compiled before.
    np.testing.assert_allclose(wide[:2], calls.scores(1, 0)[:2], rtol=1e-5)
    assert calls.compile_seconds > seconds  # What is not kept is compiled again.


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 7 bytes wanted")

    monkeypatch.setattr(Scorer, "__call__", exhausted)
    with pytest.raises(ConfigError, match="too little memory for 2 .*smaller --width"):
        Calls(task(4), chunk=4).scores(2, 0)

    def broken(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(Scorer, "__call__", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        Calls(task(4), chunk=4).scores(2, 0)
