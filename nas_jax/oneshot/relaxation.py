"""How alphas become the weights of a mixed operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from nas_jax.networks import init_alphas, mixture_weights
from nas_jax.spaces import SearchSpace

Live = Mapping[str, np.ndarray]
"""What the mask keeps, boolean `[edges, operations]` by cell name."""

Weights = dict[str, jax.Array]
"""Weight of each operation `[edges, operations]` by cell name, 0 where pruned."""


class Relaxation(NamedTuple):
    """A continuous stand-in for the choice of an operation; three pure functions.

    Attributes:
        init: `(space, key) -> alphas`, a pytree of any form.
        sample: `(alphas, live, key, step) -> weights`, differentiable by the alphas:
            what a step mixes with. The key draws, for an estimator that does; the
            number of finished steps is there for a temperature that falls.
        expected: `(alphas, live) -> weights` without chance: what is logged, and what
            the genotype is selected by.
    """

    init: Callable[[SearchSpace, jax.Array], Any]
    sample: Callable[[Any, Live, jax.Array, jax.Array], Weights]
    expected: Callable[[Any, Live], Weights]


def deterministic(
    init: Callable[[SearchSpace, jax.Array], Any],
    weights: Callable[[Any, Live], Weights],
) -> Relaxation:
    """A relaxation that draws nothing and is the same in every step."""
    return Relaxation(init, lambda alphas, live, _, __: weights(alphas, live), weights)


softmax = deterministic(init_alphas, mixture_weights)
"""DARTS' (Liu et al. 2019, eq. 2), over what the mask keeps."""
