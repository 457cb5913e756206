"""Parameters by edge: nothing is lost, and a pruned supernet finds its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import MaskError
from nas_jax.networks import (
    Supernet,
    abstract_variables,
    from_edges,
    init_variables,
    mixture_weights,
    to_edges,
    zero_alphas,
)
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(2)
FULL = SpaceMask.full(SPACE)
PRUNED = FULL.drop(
    {
        ("normal", 0, "sep_conv_3x3"),
        ("normal", 3, "sep_conv_5x5"),
        ("normal", 4, "dil_conv_3x3"),
        ("reduce", 1, "skip_connect"),
        ("reduce", 2, "sep_conv_3x3"),
        ("reduce", 4, "sep_conv_5x5"),
    }
)
IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


def supernet(mask: SpaceMask) -> Supernet:
    return Supernet(mask, channels=2, layers=3, num_classes=3)


def shapes(mask: SpaceMask) -> Any:
    return abstract_variables(supernet(mask), jnp.asarray(IMAGES), zero_alphas(SPACE))


PARAMS = init_variables(jax.random.key(0), shapes(FULL))["params"]


def test_round_trip() -> None:
    edges = to_edges(supernet(FULL), PARAMS)
    back = from_edges(supernet(FULL), shapes(FULL)["params"], edges)
    assert jax.tree.structure(back) == jax.tree.structure(PARAMS)
    assert jax.tree.all(jax.tree.map(lambda a, b: jnp.array_equal(a, b), back, PARAMS))
    assert sum(x.size for x in jax.tree.leaves(edges)) == sum(
        x.size for x in jax.tree.leaves(PARAMS)
    )


def test_names_and_shapes() -> None:
    edges = to_edges(supernet(FULL), PARAMS)
    assert {k: v.shape for k, v in edges["stem"].items()} == {
        "kernel": (3, 3, 3, 6),
        "scale": (6,),
        "shift": (6,),
    }
    assert edges["cell_0"]["preprocess_1"]["pointwise"].shape == (6, 2)
    assert set(edges["cell_2"]["preprocess_0"]) == {"pointwise_even", "pointwise_odd"}
    convs = edges["cell_0"]["edge_4"]
    assert set(convs) == {
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    }
    assert {k: v.shape for k, v in convs["sep_conv_5x5"].items()} == {
        "depthwise_0": (5, 5, 2),
        "pointwise_0": (2, 2),
        "depthwise_1": (5, 5, 2),
        "pointwise_1": (2, 2),
    }
    assert set(convs["dil_conv_3x3"]) == {"depthwise_1", "pointwise_1"}
    # Only the edges from a reduction cell's inputs halve the image.
    assert "skip_connect" in edges["cell_1"]["edge_3"]
    assert "skip_connect" not in edges["cell_1"]["edge_4"]


def test_weights_of_an_unpruned_supernet_in_a_pruned_one() -> None:
    small = from_edges(
        supernet(PRUNED), shapes(PRUNED)["params"], to_edges(supernet(FULL), PARAMS)
    )
    # Pruned operations weigh nothing, so both networks are the same function.
    weights = mixture_weights(zero_alphas(SPACE), PRUNED.arrays())
    logits = [
        jax.jit(supernet(mask).apply)({"params": params}, IMAGES, weights)
        for mask, params in ((FULL, PARAMS), (PRUNED, small))
    ]
    assert np.std(logits[0]) > 1e-3
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-4, atol=1e-5)


def test_weights_that_are_missing() -> None:
    small = init_variables(jax.random.key(0), shapes(PRUNED))["params"]
    with pytest.raises(
        MaskError, match=r"no weights for cell_0/edge_\d/\w+/\w+; take them"
    ):
        from_edges(
            supernet(FULL), shapes(FULL)["params"], to_edges(supernet(PRUNED), small)
        )


def test_weights_of_another_size() -> None:
    edges = to_edges(supernet(FULL), PARAMS)
    edges["classifier"]["bias"] = np.zeros(4, np.float32)
    with pytest.raises(MaskError, match=r"classifier/bias have shape \(4,\).* \(3,\)"):
        from_edges(supernet(FULL), shapes(FULL)["params"], edges)
