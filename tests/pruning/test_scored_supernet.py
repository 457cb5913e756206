from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy
from nas_jax.pruning import scored_supernet
from nas_jax.spaces import SpaceMask, darts_space

MASK = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
BATCH = Batch(jnp.asarray(IMAGES), jnp.array([0, 1, 0, 1]))


@pytest.fixture(scope="module")
def candidate() -> ScoredNetwork:
    """A supernet without one of its separable convolutions."""
    network = Supernet(MASK, 4, 1, 3)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    shapes = abstract_variables(network, images, zero_alphas(MASK.space))
    params = init_variables(jax.random.key(0), shapes)["params"]
    live = MASK.drop([("reduce", 0, "sep_conv_3x3")]).arrays()
    return scored_supernet(network, params, live)


@pytest.mark.parametrize("norm", ["batch", "identity"])
def test_what_a_supernet_tells(candidate: ScoredNetwork, norm: Any) -> None:
    assert candidate.observe is not None
    seen = candidate.observe(candidate.params, BATCH.images, norm=norm)
    logits = candidate.logits(candidate.params, BATCH.images, norm=norm)
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-5)
    assert seen.feature_map is not None and seen.feature_map.shape == (4, 4, 4, 8)
    assert seen.features is not None
    np.testing.assert_allclose(seen.features, seen.feature_map.mean((1, 2)), rtol=1e-5)
    classifier = candidate.params["classifier"]
    read = seen.features @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(read, seen.logits, rtol=1e-5)
    assert seen.relu_inputs is not None
    # Two of the preprocessing, two of the separable convolution that is left, and one
    # of each of the two skips that halve the image.
    counts = [float(counts.sum()) for _, counts in seen.relu_inputs]
    assert sum(counts) == 2 + 2 + 2
    assert seen.variances is None and seen.channels is None


def test_macs_and_operations_of_a_candidate(candidate: ScoredNetwork) -> None:
    # 8x8 images of one channel, a stem of 12 channels, and one reduction cell of 8:
    # two 1x1 preprocessings at 8x8, then at 4x4 two halving skips (two 1x1 of 8 to 4
    # each) and the one separable convolution left, twice 3x3 and 1x1.
    stem = 8 * 8 * 9 * 1 * 12
    preprocess = 2 * 8 * 8 * 12 * 8
    skips = 2 * 4 * 4 * 2 * 8 * 4
    separable = 4 * 4 * 2 * (9 * 8 + 8 * 8)
    score = get_proxy("flops").score(candidate, BATCH, jax.random.key(0))
    assert score == stem + preprocess + skips + separable + 8 * 3
    # Each cell of the space counts once, a normal one too.
    assert get_proxy("sep_convs").score(candidate, BATCH, jax.random.key(0)) == 3
    assert candidate.operations is not None
    assert candidate.operations["skip_connect"] == 4
