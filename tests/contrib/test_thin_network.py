from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas.network import ThinDarts
from nas_jax.errors import ConfigError
from nas_jax.spaces import SearchSpace, SpaceMask, darts_space, nasbench201_space
from tests.contrib import thin_reference

SPACE = darts_space(2)
FAST = {"xla_backend_optimization_level": 0}
# Both pools, and a convolution of each kind and size.
OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "dil_conv_5x5",
)


def some_live(space: SearchSpace) -> dict[str, np.ndarray]:
    """Some operations of each edge, 0/1."""
    rng = np.random.default_rng(1)
    live = {}
    for cell in space.cells:
        live[cell.name] = rng.uniform(size=(len(cell.edges), len(cell.ops))) > 0.3
        live[cell.name][:, 4] = True
    return live


@pytest.mark.parametrize(
    ("stem", "size", "depth", "nodes", "channels"),
    [(True, 8, 3, 2, 1), (False, 3, 1, 1, 6)],
    ids=["stem", "wide"],
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
        live = some_live(space)
        weights = {name: w / w.sum(1, keepdims=True) for name, w in live.items()}

        def ours(params: Any) -> Any:
            return network.logits(params, live, images, "batch")

        def plain(params: Any) -> Any:
            return thin_reference.logits(space, params, images, weights)

        cotangent = jnp.asarray(rng.normal(size=(5, 4)))

        def both(function: Any) -> Any:
            out, pull = jax.vjp(function, params)
            return out, pull(cotangent)[0]

        (out, gradient), (expected, other) = (
            jax.jit(both, static_argnums=0, compiler_options=FAST)(f)
            for f in (ours, plain)
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
    live = SpaceMask.full(SPACE).drop([("reduce", 1, "sep_conv_3x3")]).arrays()
    seen = network.observe(params, live, images, "batch")
    assert seen.logits is not None and seen.logits.shape == (5, 4)
    assert seen.feature_map is not None and seen.feature_map.shape == (5, 4, 4, 4)
    np.testing.assert_allclose(seen.features, seen.feature_map.mean((1, 2)), rtol=1e-5)
    assert seen.relu_inputs is not None and seen.variances is not None
    for inputs, counts in seen.relu_inputs:
        assert inputs.shape[:2] == (len(counts), 5)
    for variance, alive in seen.variances:
        assert variance.shape[0] == len(alive)
    layers = network.live(params, live)["reduce"]
    # By source, then target: the second edge is the third of the stack.
    stage = layers["sep_conv_3x3"]["stage_1"]
    np.testing.assert_array_equal(stage["depthwise"], [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(layers["dil_conv_3x3"]["stage_1"]["scale"], 1)
    assert layers["preprocess_0"]["scale"] == 1
    operations = network.operations(live)
    assert operations["sep_conv_3x3"] == 9 and operations["none"] == 10


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


def test_another_kind_of_space_is_refused() -> None:
    with pytest.raises(ConfigError, match="'nasbench201' has other cells"):
        ThinDarts(nasbench201_space(), 10)
