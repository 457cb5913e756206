"""Gates of the channels of a DARTS network, against gradients of the weights."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import abstract_variables
from nas_jax.networks.backbone import places
from nas_jax.networks.darts_family import DartsFamily, darts_codes
from nas_jax.networks.observed import Observed
from nas_jax.spaces import Genotype, darts_space

FAST = {"xla_backend_optimization_level": 0}
# Each kind of layer, and fewer of them in the program.
SPACE = darts_space(2, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
GENES = [
    *(("sep_conv_3x3", 0), ("skip_connect", 1)),
    *(("dil_conv_5x5", 2), ("skip_connect", 0)),
]
GENOTYPE = Genotype.parse(SPACE, f"Genotype(normal={GENES}, reduce={GENES})")
# Fixed statistics keep the images of a batch apart.
FAMILY = DartsFamily(channels=2, layers=3, num_classes=3, space=SPACE, norm="running")
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 2)), jnp.float32)
CODES = darts_codes(GENOTYPE)
Params = Any


def told(params: Params, *args: Any) -> Observed:
    seen = FAMILY.apply({"params": params}, IMAGES, *map(jnp.asarray, CODES), *args)
    assert isinstance(seen, Observed)
    return seen


@pytest.fixture(scope="module")
def params() -> Params:
    """None of them at its usual start, so that each matters."""
    shapes = abstract_variables(FAMILY, IMAGES, *CODES)["params"]
    rng = np.random.default_rng(3)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


@pytest.fixture(scope="module")
def seen(params: Params) -> Observed:
    return jax.jit(told, compiler_options=FAST)(params)


@pytest.fixture(scope="module")
def gradients(params: Params) -> Any:
    """Gradients of one image's loss by parameters and gates."""

    @functools.partial(jax.jit, compiler_options=FAST)
    @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(params: Params, gates: Any, image: Any) -> Any:
        seen = told(params, gates)
        losses = jnp.sum(jnp.sin(seen.logits / 10), axis=1)
        return losses[image], seen

    return functools.partial(run, params)


def test_gates(params: Params, seen: Observed, gradients: Any) -> None:
    """A gate's gradient is that of its channel's weights times the weights.

    A gate g scales the weights w of one channel for one image: y = g (w x + b), hence
    dL/dg = <w, dL/dw> + b dL/db at g = 1. Fixed statistics keep the images apart, so
    the gradient of one image's loss is its own.
    """
    assert seen.channels is not None
    ones = [gate.values for gate in seen.channels]
    for image in range(3):
        _, (by_params, by_gates) = gradients(ones, image)
        products = jax.tree.map(lambda w, g: w * g, params, by_params)
        expected = channel_sums(products)
        assert len(expected) == len(by_gates)
        for sums, gate, told_gate in zip(
            expected, by_gates, seen.channels, strict=True
        ):
            others = np.delete(np.asarray(gate), image, axis=1)
            np.testing.assert_array_equal(others, 0)
            np.testing.assert_allclose(gate[:, image], sums, rtol=1e-3, atol=1e-4)
            # Every layer that takes part has a gradient, and no other.
            moved = np.abs(gate[:, image]).max(1) > 0
            np.testing.assert_array_equal(moved, told_gate.live > 0)


def channel_sums(products: Any) -> list[np.ndarray]:
    """Sums over all weights of each channel, by layer, in the order of the gates."""

    def sums(array: Any, stacked: bool) -> np.ndarray:
        array = np.asarray(array)
        axes = tuple(range(stacked, array.ndim - 1))
        return array.sum(axes) if stacked else array.sum(axes)[None]

    entries = [sums(products["stem"]["kernel"], False)]
    for index, place in enumerate(places(2, 3)):
        cell = products[f"cell_{index}"]
        for name in ("preprocess_0", "preprocess_1"):
            parts = [sums(cell[name][key], True) for key in sorted(cell[name])]
            entries.append(np.concatenate(parts, axis=-1))
        rows = np.zeros((4, 4, place.channels))
        for column, layer in enumerate(
            ("depthwise_0", "pointwise_0", "depthwise_1", "pointwise_1")
        ):
            for op in ("sep_conv_3x3", "dil_conv_5x5"):
                if f"{op}_{layer}" in cell:
                    rows[:, column] += sums(cell[f"{op}_{layer}"], True)
        if place.reduction:
            halves = [
                sums(cell[f"skip_connect_pointwise_{half}"], True)
                for half in ("even", "odd")
            ]
            rows[:, -1] += np.concatenate(halves, axis=-1)
        entries.append(rows.reshape(16, -1))
    last = products["classifier"]
    kernel = sums(last["kernel"], False)
    return [*entries, kernel + np.asarray(last["bias"])]


def test_gates_of_ones_change_nothing(seen: Observed, gradients: Any) -> None:
    assert seen.channels is not None
    ones = [gate.values for gate in seen.channels]
    assert all((np.asarray(values) == 1).all() for values in ones)
    (_, gated), _ = gradients(ones, 0)
    np.testing.assert_allclose(gated.logits, seen.logits, rtol=1e-5, atol=1e-5)
    # The classifier's: its biases are multiplied too.
    ones[-1] = ones[-1] * jnp.array([2.0, 1.0, -1.0])[:, None]
    (_, gated), _ = gradients(ones, 0)
    expected = seen.logits * np.array([[2.0], [1.0], [-1.0]])
    np.testing.assert_allclose(gated.logits, expected, rtol=1e-5, atol=1e-5)


def test_weights_of_a_channel(seen: Observed) -> None:
    channels = seen.channels
    assert channels is not None
    stacked = [gate for gate in channels if len(gate.live) > 1]
    single = [int(gate.fan_in) for gate in channels if len(gate.live) == 1]
    # Stem of 6 channels; two states of each cell before; classifier.
    assert single == [9 * 2, 6, 6, 6, 2 * 2, 2 * 2, 2 * 4, 2 * 8]
    # sep_conv_3x3 and skip_connect of the inputs, another skip_connect, and
    # dil_conv_5x5 of a node, in the order of their sources.
    for gate, wide, skip in zip(stacked, (2, 4, 8), (0, 4, 8), strict=True):
        sep, dil = [9, wide, 9, wide], [0, 0, 25, wide]
        rows = [sep, [0, 0, 0, skip], [0, 0, 0, skip], dil]
        np.testing.assert_array_equal(gate.fan_in, np.ravel(rows))
        np.testing.assert_array_equal(gate.live, np.ravel(rows) > 0)
