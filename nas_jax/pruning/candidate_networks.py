"""The supernets that candidates are scored on, with what is alive as an argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nas_jax.networks import Candidates, Size, family_of
from nas_jax.proxies import ScoredNetwork
from nas_jax.pruning.rankers import CandidateNetwork
from nas_jax.scoring import scored_network
from nas_jax.spaces import SearchSpace, SpaceMask


@dataclasses.dataclass(frozen=True)
class SupernetSize:
    """Builds the supernet that a search would train.

    Attributes:
        channels: Channels of its first cells.
        layers: Its cells; those of each stage where its family has stages.
    """

    channels: int
    layers: int

    def __call__(self, mask: SpaceMask, num_classes: int) -> CandidateNetwork:
        """The supernet of a mask."""
        size = Size(self.channels, self.layers)
        return _Supernet(Candidates(mask, size, num_classes))


def usual_size(space: SearchSpace, channels: int = 0, layers: int = 0) -> SupernetSize:
    """The supernet that a space is searched with, by its family of networks.

    Args:
        space: The search space.
        channels: Another number of channels; 0 for the usual one.
        layers: Another number of cells; 0 for the usual one.
    """
    usual = family_of(space).usual_size
    return SupernetSize(channels or usual.channels, layers or usual.cells)


class _Supernet:
    def __init__(self, network: Candidates) -> None:
        self._network = network
        self.init = network.init

    def scored(self, params: Any, live: Mapping[str, Any]) -> ScoredNetwork:
        return scored_network(self._network, params, live)
