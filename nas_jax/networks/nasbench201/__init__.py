"""The networks of NAS-Bench-201, which are those of NATS-Bench's topology space."""

from __future__ import annotations

import dataclasses
from typing import Any

from nas_jax.errors import ConfigError
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.family import Size, register_family
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


@dataclasses.dataclass(frozen=True)
class NasBench201:
    """Networks of three stages of equal cells; a `NetworkFamily`."""

    name: str = "nasbench201"
    usual_size: Size = Size(16, 5)
    stages: int = STAGES
    min_cells: int = 1

    def check_space(self, space: SearchSpace) -> None:
        """Refuses every space but the published one."""
        if space != nasbench201_space():
            raise ConfigError(
                f"space {space.name!r} is not NAS-Bench-201's, and has no such networks"
            )

    def check_images(self, height: int, width: int, cells: int) -> None:
        """Refuses images that cannot be halved twice."""
        del cells
        check_halves(height, width)

    def supernet(
        self,
        mask: SpaceMask,
        size: Size,
        num_classes: int,
        *,
        remat: Remat = "op",
        dtype: Dtype = "float32",
    ) -> NasBench201Supernet:
        """The supernet of the operations that a mask keeps."""
        return NasBench201Supernet(mask, *size, num_classes, remat=remat, dtype=dtype)

    def network(
        self, genotype: Genotype, size: Size, num_classes: int
    ) -> NasBench201Network:
        """The network of an architecture; GenotypeError if nothing leads through it."""
        check_connected(genotype)
        return NasBench201Network(genotype, *size, num_classes)

    def coded(
        self, space: SearchSpace, size: Size, num_classes: int
    ) -> CodedNasBench201:
        """The networks of all architectures."""
        del space
        return CodedNasBench201(*size, num_classes)

    def facts(self, genotype: Genotype) -> dict[str, Any]:
        """Where NAS-Bench-201 and NATS-Bench list an architecture."""
        return {"nasbench201_index": architecture_index(operations_of(genotype))}


NASBENCH201 = register_family(NasBench201())
