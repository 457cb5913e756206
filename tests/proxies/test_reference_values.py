"""Proxies of one hand-written network against what their original codes gave for it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, Gate, Observed, ScoredNetwork, get_proxy

NAMES = (
    *("epe_nas", "fisher", "grad_norm", "grasp", "jacov", "l2_norm", "ntk_cond"),
    *("nwot", "params", "plain", "snip", "synflow", "zico"),
)


def observe(p: Any, images: Any, *, norm: str, gates: Any = None) -> Observed:
    """Two convolutions, one of them normalised, and two linear layers."""
    sizes = [p["c1"]["bias"].size, p["b"]["scale"].size]
    sizes += [p[name]["bias"].size for name in ("l1", "l2")]
    if gates is None:
        gates = [jnp.ones((1, len(images), size), images.dtype) for size in sizes]
    one, two, three, four = (gate[0] for gate in gates)
    x = conv(images, p["c1"]["kernel"], 1) + p["c1"]["bias"]
    first = x * one[:, None, None]
    x = conv(jax.nn.relu(first), p["c2"]["kernel"], 2) * two[:, None, None]
    if norm == "batch":
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        x = (x - mean) / jnp.sqrt(variance + 1e-5) * p["b"]["scale"] + p["b"]["bias"]
    pooled = jax.nn.relu(x).mean((1, 2))
    third = (pooled @ p["l1"]["kernel"] + p["l1"]["bias"]) * three
    logits = (jax.nn.relu(third) @ p["l2"]["kernel"] + p["l2"]["bias"]) * four
    live = jnp.ones(1)
    fan_ins = [kernel_of(p, name)[..., 0].size for name in ("c1", "c2", "l1", "l2")]
    return Observed(
        logits=logits,
        relu_inputs=[(y[None], live) for y in (first, x, third)],
        channels=[Gate(g, n, live) for g, n in zip(gates, fan_ins, strict=True)],
    )


def kernel_of(p: Any, name: str) -> Any:
    return p[name]["kernel"]


def conv(x: Any, kernel: Any, stride: int) -> Any:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def logits(p: Any, images: Any, *, norm: str) -> Any:
    return observe(p, images, norm=norm).logits


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, np.ndarray]:
    path = shared_data / "reference_values" / "plain_cnn_reference.npz"
    if not path.is_file():
        pytest.skip("needs plain_cnn_reference.npz in the shared data folder")
    with np.load(path) as stored:
        return dict(stored)


def test_all_values_are_compared(reference: dict[str, np.ndarray]) -> None:
    values = {k.removeprefix("value/") for k in reference if k.startswith("value/")}
    assert values == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_value(name: str, reference: dict[str, np.ndarray]) -> None:
    with jax.enable_x64(True):
        params: dict[str, dict[str, Any]] = {}
        for key, value in reference.items():
            if key.startswith("param/"):
                _, layer, kind = key.split("/")
                params.setdefault(layer, {})[kind] = jnp.asarray(value)
        batch = Batch(
            jnp.asarray(reference["images"]), jnp.asarray(reference["labels"])
        )
        # It has a normalisation whose factors are not 1 and 0.
        assert np.abs(np.asarray(params["b"]["scale"]) - 1).max() > 0.1
        network = ScoredNetwork.plain(logits, params, observe)
        score = functools.partial(get_proxy(name).score, network)
        found = jax.jit(score)(batch, jax.random.key(0))
    np.testing.assert_allclose(found, reference[f"value/{name}"], rtol=1e-9)
