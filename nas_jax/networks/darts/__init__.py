"""The networks of DARTS' search space, and of all spaces of its kind."""

from __future__ import annotations

from typing import Any

from nas_jax.networks.darts.coded import CodedDarts, check_space
from nas_jax.networks.darts.network import DerivedNetwork
from nas_jax.networks.darts.stack import check_image
from nas_jax.networks.darts.supernet import Supernet
from nas_jax.networks.family import NetworkFamily, Size, register_family
from nas_jax.spaces import SpaceMask


def _supernet(mask: SpaceMask, size: Size, classes: int, **options: Any) -> Supernet:
    return Supernet(mask, size.channels, size.cells, classes, **options)


DARTS = register_family(
    NetworkFamily(
        "darts",
        supernet=_supernet,
        network=lambda genotype, size, n: DerivedNetwork(genotype, *size, n),
        coded=lambda space, size, classes: CodedDarts(*size, classes, space=space),
        check_space=check_space,
        check_images=check_image,
        usual_size=Size(16, 8),
        min_cells=2,
    )
)
