"""A small network, hand-written: convolution, batch norm, ReLU, pooling, linear."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, Gate, Observed, ScoredNetwork

EPSILON = 1e-5


def observe(params: Any, images: Any, *, norm: str, gates: Any = None) -> Observed:
    conv = jax.lax.conv_general_dilated(
        images,
        params["conv"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    if gates is None:
        sizes = (conv.shape[-1], params["out"].shape[-1])
        gates = [jnp.ones((1, len(images), size), conv.dtype) for size in sizes]
    conv = conv * gates[0][0][:, None, None, :]
    variance = jnp.var(conv, axis=(0, 1, 2))
    hidden = conv
    if norm == "batch":
        centred = conv - jnp.mean(conv, axis=(0, 1, 2))
        hidden = centred / jnp.sqrt(variance + EPSILON) * params["scale"]
        hidden = hidden + params["shift"]
    feature_map = jax.nn.relu(hidden)
    features = jnp.mean(feature_map, axis=(1, 2))
    live = jnp.ones(1)
    fan_in = (9 * images.shape[-1], features.shape[-1])
    return Observed(
        logits=(features @ params["out"] + params["bias"]) * gates[1][0],
        features=features,
        feature_map=feature_map,
        relu_inputs=[(hidden[None], live)],
        variances=[(variance[None], live)],
        channels=[Gate(g, n, live) for g, n in zip(gates, fan_in, strict=True)],
    )


def logits(params: Any, images: Any, *, norm: str) -> Any:
    return observe(params, images, norm=norm).logits


def numpy_observe(
    params: dict[str, np.ndarray], images: np.ndarray, gates: Any = (1.0, 1.0)
) -> dict[str, np.ndarray]:
    """The same network in NumPy; gates are `[B, channels]`."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    conv = sum(
        padded[:, i : i + height, j : j + width] @ params["conv"][i, j]
        for i in range(3)
        for j in range(3)
    )
    if np.ndim(gates[0]):
        conv = conv * gates[0][:, None, None, :]
    variance = conv.var(axis=(0, 1, 2))
    hidden = (conv - conv.mean(axis=(0, 1, 2))) / np.sqrt(variance + EPSILON)
    hidden = hidden * params["scale"] + params["shift"]
    feature_map = np.maximum(hidden, 0)
    features = feature_map.mean(axis=(1, 2))
    logits = (features @ params["out"] + params["bias"]) * gates[1]
    return {
        "logits": logits,
        "features": features,
        "feature_map": feature_map,
        "variance": variance,
    }


def numpy_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy."""
    log_z = np.log(np.exp(logits).sum(axis=1))
    return float(np.mean(log_z - logits[np.arange(len(labels)), labels]))


def slope(function: Any, at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Derivative of a function by every element of an array: `[*result, *at]`."""
    columns = []
    for index in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * step
            ends.append(np.asarray(function(moved)))
        columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *at.shape)


class TinyNetwork:
    """Everything about the network that a test needs."""

    logits = staticmethod(logits)
    observe = staticmethod(observe)
    numpy_observe = staticmethod(numpy_observe)
    numpy_loss = staticmethod(numpy_loss)
    slope = staticmethod(slope)

    @staticmethod
    def numpy(tree: Any) -> Any:
        """Arrays in NumPy, float ones in float64."""
        return jax.tree.map(
            lambda x: np.asarray(x, np.int64 if x.dtype.kind == "i" else np.float64),
            tree,
        )

    @staticmethod
    def params(seed: int, dtype: Any = jnp.float32) -> dict[str, jax.Array]:
        rng = np.random.default_rng(seed)
        shapes = {
            "conv": (3, 3, 1, 4),
            "scale": (4,),
            "shift": (4,),
            "out": (4, 3),
            "bias": (3,),
        }
        return {n: jnp.asarray(rng.normal(size=s), dtype) for n, s in shapes.items()}

    @staticmethod
    def network(params: Any) -> ScoredNetwork:
        """The network with everything that it can tell."""
        plain = ScoredNetwork.plain(logits, params, observe)
        counts = {"sep_conv_3x3": jnp.array(2.0), "skip_connect": jnp.array(5.0)}
        return dataclasses.replace(plain, operations=counts)

    @staticmethod
    def batch(seed: int = 0, dtype: Any = jnp.float32) -> Batch:
        images = np.random.default_rng(seed).normal(size=(6, 8, 8, 1))
        return Batch(jnp.asarray(images, dtype), jnp.array([0, 1, 2, 0, 1, 0]))


@pytest.fixture(scope="session")
def tiny() -> type[TinyNetwork]:
    return TinyNetwork
