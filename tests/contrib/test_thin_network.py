from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas.network import ThinDarts, edges_by_source
from nas_jax.errors import ConfigError, MaskError
from nas_jax.spaces import SearchSpace, darts_space, nasbench201_space
from tests.contrib import thin_reference

SPACE = darts_space(2)
# Both pools, and a convolution of each kind and size.
OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "dil_conv_5x5",
)


def random_weights(seed: int, space: SearchSpace = SPACE) -> dict[str, np.ndarray]:
    """Equal weights of some operations of each edge."""
    rng = np.random.default_rng(seed)
    weights = {}
    for cell in space.cells:
        live = rng.uniform(size=(len(cell.edges), len(cell.ops))) > 0.3
        live[:, 4] = True
        weights[cell.name] = live / live.sum(1, keepdims=True)
    return weights


@pytest.mark.parametrize(
    ("stem", "size", "depth", "nodes", "channels"),
    [(True, 8, 3, 2, 1), (False, 3, 1, 1, 1), (False, 3, 1, 1, 6)],
    ids=["stem", "bare", "wide"],
)
def test_equal_to_the_plain_network(
    stem: bool, size: int, depth: int, nodes: int, channels: int
) -> None:
    rng = np.random.default_rng(0)
    space = darts_space(nodes, OPS)
    with jax.enable_x64(True):
        network = ThinDarts(space, 4, channels, stem)
        params = jax.tree.map(
            lambda p: jnp.asarray(rng.normal(size=p.shape)), network.abstract(depth)
        )
        images = jnp.asarray(rng.normal(size=(5, size, size, depth)))
        weights = random_weights(1, space)

        def ours(params: Any) -> Any:
            return network.observed(params, images, weights, "batch").logits

        def plain(params: Any) -> Any:
            return thin_reference.logits(space, params, images, weights)

        cotangent = jnp.asarray(rng.normal(size=(5, 4)))

        def both(function: Any) -> Any:
            out, pull = jax.vjp(function, params)
            return out, pull(cotangent)[0]

        (out, gradient), (expected, other) = (
            jax.jit(both, static_argnums=0)(f) for f in (ours, plain)
        )
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-10)
        paths = jax.tree_util.tree_flatten_with_path(gradient)[0]
        for (path, value), reference in zip(paths, jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(
                value,
                reference,
                rtol=1e-7,
                atol=1e-9 * (1 + np.abs(reference).max()),
                err_msg=jax.tree_util.keystr(path),
            )


def test_what_it_tells() -> None:
    network = ThinDarts(SPACE, 4)
    params = network.init(jax.random.key(0), (8, 8, 3))
    images = jnp.asarray(
        np.random.default_rng(0).normal(size=(5, 8, 8, 3)), jnp.float32
    )
    seen = jax.jit(
        lambda params: network.observed(params, images, random_weights(0), "batch")
    )(params)
    assert seen.logits is not None and seen.logits.shape == (5, 4)
    assert seen.feature_map is not None and seen.feature_map.shape == (5, 4, 4, 4)
    np.testing.assert_allclose(seen.features, seen.feature_map.mean((1, 2)), rtol=1e-5)
    assert seen.relu_inputs is not None and seen.variances is not None
    for inputs, counts in seen.relu_inputs:
        assert inputs.shape[:2] == (len(counts), 5)
    for variance, live in seen.variances:
        assert variance.shape[0] == len(live)


def test_parameters_by_hand() -> None:
    # Two nodes have 5 edges, 4 of them from the cell's inputs.
    count = sum(p.size for p in jax.tree.leaves(ThinDarts(SPACE, 10).abstract(3)))

    def cell(channels: int, inputs: tuple[int, int], halves: bool) -> int:
        def norm(c: int) -> int:
            return 2 * c

        edge = sum(
            stages * (k * k * channels + channels**2 + norm(channels))
            for stages, k in ((2, 3), (2, 5), (1, 3), (1, 5))
        )
        skips = 4 * (channels**2 + norm(channels)) if halves else 0
        before = sum(n * channels + norm(channels) for n in inputs)
        return before + 5 * edge + skips

    stem = 27 + 2
    cells = cell(1, (1, 1), False) + cell(2, (1, 2), True)
    assert count == stem + cells + 2 * 4 + 4 * 10 + 10


def test_edges_are_stacked_by_source() -> None:
    cell = SPACE.cells[0]
    assert [cell.edges[e] for e in edges_by_source(cell)] == [
        *((0, 2), (0, 3), (1, 2), (1, 3), (2, 3)),
    ]


def test_kaiming_weights_have_the_variance_of_their_fan_out() -> None:
    network = ThinDarts(darts_space(1), 100, 16, True, "kaiming_normal_fan_out")
    params = jax.jit(lambda key: network.init(key, (8, 8, 3)))(jax.random.key(0))
    stem = params["stem"]["kernel"]
    assert np.std(stem) == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.1)
    # PyTorch counts all channels of a depthwise convolution.
    depthwise = params["normal"]["sep_conv_5x5"]["stage_0"]["depthwise"]
    assert np.std(depthwise) == pytest.approx((2 / (25 * 16)) ** 0.5, rel=0.1)
    dense = params["classifier"]["kernel"]
    assert np.std(dense) == pytest.approx((2 / 100) ** 0.5, rel=0.1)
    assert (params["last"]["scale"] == 1).all() and (params["last"]["shift"] == 0).all()


def test_weights_that_are_none() -> None:
    network = ThinDarts(SPACE, 4)
    params = network.init(jax.random.key(0), (8, 8, 3))
    ones = {c.name: np.ones((len(c.edges), len(c.ops))) for c in SPACE.cells}
    with pytest.raises(MaskError, match="edge 0, .*add up to 1"):
        network.observed(params, jnp.zeros((2, 8, 8, 3)), ones, "batch")


def test_another_kind_of_space_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nasbench201' has other cells"):
        ThinDarts(nasbench201_space(), 10)
