"""The scorer: the same numbers in turns, side by side and spread over devices."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, get_proxy
from nas_jax.scoring import ScoredArchitectures, Scorer, sample_genotypes, widest
from nas_jax.scoring.scorer import proxy_key
from nas_jax.spaces import nasbench201_space

PROXIES = ("params", "nwot", "snip")
KEY = jax.random.key(3)
FAST = {"xla_backend_optimization_level": 0}


@pytest.fixture(scope="module")
def family() -> ScoredArchitectures:
    return ScoredArchitectures(nasbench201_space(), 3, channels=2, cells=1)


@pytest.fixture(scope="module")
def batch() -> Batch:
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    return Batch(images, jnp.array([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def params(family: ScoredArchitectures) -> Any:
    return family.init(jax.random.key(1), (8, 8, 3))


@pytest.fixture(scope="module")
def codes(family: ScoredArchitectures) -> Any:
    return family.encode(sample_genotypes(family.space, 5, seed=0))


@pytest.fixture(scope="module")
def scores(family: Any, params: Any, batch: Batch, codes: Any) -> np.ndarray:
    return Scorer(family.scored, PROXIES)(params, batch, KEY, codes)


def test_scores_are_those_of_each_network_alone(
    family: Any, params: Any, batch: Batch, codes: Any, scores: np.ndarray
) -> None:
    assert scores.shape == (5, 3) and scores.dtype == np.float64
    assert len(np.unique(scores[:, 1])) == 5
    network = family.scored(params, jax.tree.map(lambda c: jnp.asarray(c[2]), codes))
    for column, name in enumerate(PROXIES):
        score = functools.partial(get_proxy(name).score, network)
        alone = jax.jit(score, compiler_options=FAST)(batch, proxy_key(KEY, name))
        np.testing.assert_allclose(scores[2, column], alone, rtol=1e-4)


@pytest.mark.parametrize(("width", "threads"), [(3, 1), (1, 3)])
def test_side_by_side_and_in_threads_is_the_same(
    family: Any,
    params: Any,
    batch: Batch,
    codes: Any,
    scores: np.ndarray,
    width: int,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: threads)
    # Three do not divide five. Labels of 64 bits change nothing either.
    with jax.enable_x64(True):
        wide = Batch(batch.images, jnp.asarray(batch.labels, jnp.int64))
        assert wide.labels.dtype == jnp.int64
        scorer = Scorer(family.scored, PROXIES[:2], width=width)
        found = scorer(params, wide, KEY, codes)
    np.testing.assert_allclose(found, scores[:, :2], rtol=1e-4)


def test_other_architectures_share_the_programs(
    family: Any, params: Any, batch: Batch, codes: Any
) -> None:
    traces = 0

    def counted(params: Any, codes: Any) -> Any:
        nonlocal traces
        traces += 1
        return family.scored(params, codes)

    scorer = Scorer(counted, ("params", "nwot"))
    assert (scorer.compile_seconds, scorer.memory, scorer.scored) == (0.0, None, 0)
    first = scorer(params, batch, KEY, codes)
    traced, seconds = traces, scorer.compile_seconds
    assert traced > 0 and seconds > 0 and scorer.memory is not None
    again = scorer(params, batch, KEY, jax.tree.map(lambda c: c[::-1], codes))
    assert (traces, scorer.compile_seconds) == (traced, seconds)
    np.testing.assert_array_equal(again, first[::-1])
    assert scorer.scored == 10 and all(s > 0 for s in scorer.seconds.values())


def test_synflow_gets_64_bit_numbers(
    family: Any, params: Any, batch: Batch, codes: Any
) -> None:
    # Each layer multiplies by its scale: more than float32 can hold.
    large = jax.tree.map(lambda w: w * 1e4, params)
    scores = Scorer(family.scored, ("synflow", "params"))(large, batch, KEY, codes)
    assert np.isfinite(scores).all() and scores[:, 0].max() > 1e39
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("budget", "peak", "width"),
    [
        (100, lambda w: 10 + 10 * w, 9),
        (100, lambda w: 10 + 10 * w + (w > 4) * 80, 4),
        (25, lambda w: 10 + 10 * w, 1),
        (5, lambda w: 10 + 10 * w, 1),
        (10**6, lambda w: 10 + 10 * w, 64),
    ],
)
def test_widest_fits(budget: int, peak: Callable[[int], int], width: int) -> None:
    assert widest(budget, peak, most=64) == width


DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from nas_jax.proxies import Batch
from nas_jax.scoring import ScoredArchitectures, Scorer, sample_genotypes
from nas_jax.spaces import nasbench201_space
assert len(jax.devices()) == 4
family = ScoredArchitectures(nasbench201_space(), 3, channels=2, cells=1)
params = family.init(jax.random.key(1), (8, 8, 3))
codes = family.encode(sample_genotypes(family.space, 5, seed=0))
images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
batch = Batch(images, jnp.array([0, 1, 2, 0]))
scores = Scorer(family.scored, ("params", "nwot"))(
    params, batch, jax.random.key(3), codes
)
print(repr(scores.tolist()))
"""


def test_devices_share_the_architectures(scores: np.ndarray) -> None:
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PATH": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    spread = np.array(json.loads(done.stdout))
    np.testing.assert_allclose(spread, scores[:, :2], rtol=1e-4)
