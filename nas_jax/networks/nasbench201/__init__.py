"""The networks of NAS-Bench-201, which are those of NATS-Bench's topology space."""

from __future__ import annotations

from typing import Any

from nas_jax.errors import ConfigError
from nas_jax.networks.family import NetworkFamily, Size, register_family
from nas_jax.networks.nasbench201.coded import CodedNasBench201
from nas_jax.networks.nasbench201.network import NasBench201Network
from nas_jax.networks.nasbench201.stages import STAGES, check_halves
from nas_jax.networks.nasbench201.supernet import NasBench201Supernet
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask, nasbench201_space
from nas_jax.spaces.nasbench201 import (
    architecture_index,
    check_connected,
    operations_of,
)


def _supernet(
    mask: SpaceMask, size: Size, classes: int, **options: Any
) -> NasBench201Supernet:
    return NasBench201Supernet(mask, size.channels, size.cells, classes, **options)


def _network(genotype: Genotype, size: Size, classes: int) -> NasBench201Network:
    check_connected(genotype)
    return NasBench201Network(genotype, *size, classes)


def _check_space(space: SearchSpace) -> None:
    if space != nasbench201_space():
        raise ConfigError(
            f"space {space.name!r} is not NAS-Bench-201's, and has no such networks"
        )


def _facts(genotype: Genotype) -> dict[str, Any]:
    """Where NAS-Bench-201 and NATS-Bench list an architecture."""
    return {"nasbench201_index": architecture_index(operations_of(genotype))}


NASBENCH201 = register_family(
    NetworkFamily(
        "nasbench201",
        supernet=_supernet,
        network=_network,
        coded=lambda space, size, classes: CodedNasBench201(*size, classes),
        check_space=_check_space,
        check_images=lambda height, width, cells: check_halves(height, width),
        usual_size=Size(16, 5),
        stages=STAGES,
        facts=_facts,
    )
)
