"""The networks that candidates are scored on: all of a space, with live as argument."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.networks import (
    abstract_variables,
    get_supernet,
    init_variables,
    zero_alphas,
)
from nas_jax.networks.registry import is_nasbench201
from nas_jax.proxies import ScoredNetwork
from nas_jax.pruning.rankers import CandidateNetwork, ImageShape
from nas_jax.pruning.scored_nasbench201 import scored_nasbench201
from nas_jax.pruning.scored_supernet import scored_supernet
from nas_jax.spaces import SearchSpace, SpaceMask


@dataclasses.dataclass(frozen=True)
class SupernetSize:
    """Builds the supernet that a search would train.

    Attributes:
        channels: Channels of its first cells.
        layers: Cells; cells of each stage for NAS-Bench-201.
    """

    channels: int
    layers: int

    def __call__(self, mask: SpaceMask, num_classes: int) -> CandidateNetwork:
        """The supernet of a mask."""
        # Recomputing each operation is the smallest program; proxies that need
        # activations run by waves.
        network = get_supernet(mask, self.channels, self.layers, num_classes)
        bench = is_nasbench201(mask.space)
        return _FlaxNetwork(network, scored_nasbench201 if bench else scored_supernet)


def usual_size(space: SearchSpace, channels: int = 0, layers: int = 0) -> SupernetSize:
    """The supernet that a space is searched with: 16 channels, 8 cells (DARTS).

    For NAS-Bench-201 5 cells a stage.

    Args:
        space: The search space.
        channels: Another number of channels; 0 for the usual one.
        layers: Another number of cells; 0 for the usual one.
    """
    usual = 5 if is_nasbench201(space) else 8
    return SupernetSize(channels or 16, layers or usual)


class _FlaxNetwork:
    def __init__(
        self, network: Any, scored: Callable[[Any, Any, Any], ScoredNetwork]
    ) -> None:
        self._network = network
        self.scored = functools.partial(scored, network)

    def init(self, key: jax.Array, image_shape: ImageShape) -> Any:
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        alphas = jax.eval_shape(lambda: zero_alphas(self._network.mask.space))
        return init_variables(key, abstract_variables(self._network, images, alphas))[
            "params"
        ]
