"""synflow's network, in which batch normalisation does nothing, in every family."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.contrib.te_nas import ThinDarts
from nas_jax.networks import Architectures, Candidates, Scorable, Size
from nas_jax.scoring import sample_genotypes
from nas_jax.spaces import SpaceMask, darts_space, nasbench201_space

FAST = {"xla_backend_optimization_level": 0}
SHAPE = (8, 8, 2)
DARTS = darts_space(
    1, ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")
)
BENCH = nasbench201_space()


def of_mask(network: Scorable, space: Any) -> tuple[Scorable, Any]:
    dead = next(space.operations())
    return network, SpaceMask.full(space).drop([dead]).arrays()


def of_genotype(space: Any, size: Size) -> tuple[Scorable, Any]:
    network = Architectures(space, size, 3)
    codes = network.encode(sample_genotypes(space, 1, seed=5))
    return network, {name: rows[0] for name, rows in codes.items()}


FAMILIES = {
    "nasbench201 family": lambda: of_genotype(BENCH, Size(2, 1)),
    "nasbench201 supernet": lambda: of_mask(
        Candidates(SpaceMask.full(BENCH), Size(2, 1), 3), BENCH
    ),
    "darts family": lambda: of_genotype(DARTS, Size(2, 3)),
    "darts supernet": lambda: of_mask(
        Candidates(SpaceMask.full(DARTS), Size(2, 3), 3), DARTS
    ),
    "thin": lambda: of_mask(ThinDarts(DARTS, 3), DARTS),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_linear_in_the_image_and_blind_to_factors(family: str) -> None:
    network, codes = FAMILIES[family]()
    params = network.init(jax.random.key(0), SHAPE)

    def positive(path: Any, leaf: Any) -> Any:
        return jnp.zeros_like(leaf) if path[-1].key == "bias" else jnp.abs(leaf)

    def moved(path: Any, leaf: Any) -> Any:
        factors = path[-1].key in ("scale", "shift", "mean", "variance")
        return 3 * leaf + 2 if factors else leaf

    params = jax.tree_util.tree_map_with_path(positive, params)
    other = jax.tree_util.tree_map_with_path(moved, params)
    run = jax.jit(
        lambda p, x: network.logits(p, codes, x, "identity"), compiler_options=FAST
    )
    one = run(params, jnp.ones((1, *SHAPE)))
    assert (one > 0).all()
    np.testing.assert_allclose(run(params, jnp.full((1, *SHAPE), 5.0)), 5 * one, 1e-5)
    np.testing.assert_allclose(run(other, jnp.ones((1, *SHAPE))), one, 1e-5)
