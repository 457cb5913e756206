"""The networks of DARTS' search space, and of all spaces of its kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from nas_jax.networks.darts.coded import CodedDarts, check_space
from nas_jax.networks.darts.network import DerivedNetwork
from nas_jax.networks.darts.stack import check_image
from nas_jax.networks.darts.supernet import Supernet
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.family import Size, register_family
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask


@dataclasses.dataclass(frozen=True)
class Darts:
    """Networks of a normal and a reduce cell of two inputs; a `NetworkFamily`."""

    name: str = "darts"
    usual_size: Size = Size(16, 8)
    stages: int = 1
    min_cells: int = 2

    def check_space(self, space: SearchSpace) -> None:
        """Refuses a space of other cells."""
        check_space(space)

    def check_images(self, height: int, width: int, cells: int) -> None:
        """Refuses images that the reduction cells cannot halve."""
        check_image(height, width, cells)

    def supernet(
        self,
        mask: SpaceMask,
        size: Size,
        num_classes: int,
        *,
        remat: Remat = "op",
        dtype: Dtype = "float32",
    ) -> Supernet:
        """The supernet of the operations that a mask keeps."""
        return Supernet(mask, *size, num_classes, remat=remat, dtype=dtype)

    def network(
        self, genotype: Genotype, size: Size, num_classes: int
    ) -> DerivedNetwork:
        """The network of a genotype."""
        return DerivedNetwork(genotype, *size, num_classes)

    def coded(self, space: SearchSpace, size: Size, num_classes: int) -> CodedDarts:
        """The networks of all genotypes."""
        return CodedDarts(*size, num_classes, space)

    def facts(self, genotype: Genotype) -> dict[str, Any]:
        """Nobody has listed these architectures."""
        del genotype
        return {}


DARTS = register_family(Darts())
