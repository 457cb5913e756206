"""The networks that candidates are scored on: all of a space, with live as argument."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from nas_jax.networks import Candidates, Size, family_of
from nas_jax.networks.thin_darts import Initialisation, ThinDarts
from nas_jax.proxies import ScoredNetwork
from nas_jax.pruning.rankers import CandidateNetwork, ImageShape
from nas_jax.pruning.thin import scored_thin
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
        return _Candidates(Candidates(mask, size, num_classes))


def usual_size(space: SearchSpace, channels: int = 0, layers: int = 0) -> SupernetSize:
    """The supernet that a space is searched with, by its family of networks.

    Args:
        space: The search space.
        channels: Another number of channels; 0 for the usual one.
        layers: Another number of cells; 0 for the usual one.
    """
    usual = family_of(space).usual_size
    return SupernetSize(channels or usual.channels, layers or usual.cells)


@dataclasses.dataclass(frozen=True)
class ThinNetwork:
    """Builds TE-NAS' thin network of a DARTS space (arXiv 2102.11535).

    Attributes:
        channels: Channels of its first cell.
        stem: Whether it has one; without, it reads one channel.
        initialisation: How weights are drawn.
    """

    channels: int = 1
    stem: bool = True
    initialisation: Initialisation = "default"

    def __call__(self, mask: SpaceMask, num_classes: int) -> CandidateNetwork:
        """The thin network of a mask's space; operations not in the mask are dead."""
        return _Thin(
            ThinDarts(mask.space, num_classes, self.channels, self.stem),
            self.initialisation,
        )


class _Candidates:
    def __init__(self, network: Candidates) -> None:
        self._network = network
        self.init = network.init

    def scored(self, params: Any, live: Mapping[str, Any]) -> ScoredNetwork:
        return scored_network(self._network, params, live)


class _Thin:
    def __init__(self, network: ThinDarts, initialisation: Initialisation) -> None:
        self._network = network
        self._initialisation = initialisation

    def init(self, key: jax.Array, image_shape: ImageShape) -> Any:
        channels = image_shape[-1] if self._network.stem else 1
        return self._network.init(key, channels, self._initialisation)

    def scored(self, params: Any, live: Mapping[str, Any]) -> ScoredNetwork:
        return scored_thin(self._network, params, live)
