from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks import Supernet, abstract_variables, init_variables, zero_alphas
from nas_jax.networks.backbone import places
from nas_jax.networks.liveness import live_layers
from nas_jax.networks.plan import plan_supernet
from nas_jax.spaces import SpaceMask, darts_space

OPS = ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
SPACE = darts_space(2, OPS)
MASK = SpaceMask.full(SPACE).drop([("normal", 1, "sep_conv_3x3")])
NETWORK = Supernet(MASK, channels=2, layers=3, num_classes=3)
IMAGES = jnp.zeros((2, 8, 8, 2))


def test_exactly_the_live_layers_are_marked() -> None:
    params = abstract_variables(NETWORK, IMAGES, zero_alphas(SPACE))["params"]
    rng = np.random.default_rng(0)
    # About half of the operations are dead; the others have different weights.
    arrays = {
        c.name: rng.uniform(0.1, 1, (5, 4)) * (rng.random((5, 4)) < 0.5)
        for c in SPACE.cells
    }
    weights = {name: jnp.asarray(a, jnp.float32) for name, a in arrays.items()}
    live = live_layers(NETWORK, params, weights)
    assert jax.tree.structure(live) == jax.tree.structure(params)
    marks = []
    for cell, modules in live.items():
        if not cell.startswith("cell_"):
            assert all((leaf == 1).all() for leaf in jax.tree.leaves(modules))
            continue
        place = places(2, 3)[int(cell[-1])]
        for name, mark in modules.items():
            if name.startswith("preprocess"):
                assert all((leaf == 1).all() for leaf in jax.tree.leaves(mark))
                continue
            expected = [
                float(arrays[place.name][o.edge, o.column] > 0)
                for o in plan_supernet(MASK, place.name).ops
                # Only a skip connection that halves the image has parameters.
                if name.startswith(o.op) and (o.op != "skip_connect" or o.source < 2)
            ]
            assert mark.tolist() == expected
            assert mark.shape == params[cell][name].shape[:1]
            marks += expected
    assert 0 < sum(marks) < len(marks)


def test_marks_broadcast_over_parameters() -> None:
    params = abstract_variables(NETWORK, IMAGES, zero_alphas(SPACE))["params"]
    ones = {c.name: jnp.ones((5, 4)) for c in SPACE.cells}
    live = live_layers(NETWORK, params, ones)
    for mark, leaf in zip(jax.tree.leaves(live), jax.tree.leaves(params), strict=True):
        assert mark.dtype == jnp.float32
        assert mark.shape in ((), leaf.shape[:1])
        assert (mark == 1).all()


def test_dead_layers_have_no_gradient() -> None:
    """What is marked 0 cannot change the output; what is marked 1 can."""
    mask = SpaceMask.full(SPACE).drop(
        [o for o in SPACE.operations() if o[2] == "dil_conv_3x3"]
    )
    network = Supernet(mask, channels=2, layers=1, num_classes=2)
    weights = {c.name: jnp.full((5, 4), 0.25) for c in SPACE.cells}
    weights["reduce"] = weights["reduce"].at[1, 2].set(0).at[4, 2].set(0)
    images = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    # Not symmetric: normalised features of a batch sum to zero.
    target = jax.random.normal(jax.random.key(2), (3, 2))
    abstract = abstract_variables(network, images, weights)
    params = init_variables(jax.random.key(1), abstract)["params"]

    @jax.jit
    @jax.grad
    def gradient(params: dict[str, jax.Array]) -> jax.Array:
        logits = network.apply({"params": params}, images, weights)
        return jnp.sum(jnp.square(logits - target))

    live = live_layers(network, params, weights)["cell_0"]
    gradients = gradient(params)["cell_0"]
    for name, mark in live.items():
        if name.startswith("preprocess"):
            continue
        size = jnp.max(jnp.abs(gradients[name].reshape(mark.size, -1)), axis=1)
        # Rounding alone would be about 1e-8.
        np.testing.assert_array_equal(mark > 0, size > 1e-5)
        np.testing.assert_array_equal(mark == 0, size == 0)
