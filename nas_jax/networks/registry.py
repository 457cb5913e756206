"""The networks of a search space: its supernet, and that of one architecture."""

from __future__ import annotations

from nas_jax.errors import MaskError
from nas_jax.networks.backbone import check_image
from nas_jax.networks.cell import Remat
from nas_jax.networks.derived import DerivedNetwork
from nas_jax.networks.nasbench201 import check_halves
from nas_jax.networks.nasbench201_network import NasBench201Network
from nas_jax.networks.nasbench201_supernet import NasBench201Supernet
from nas_jax.networks.operations import NETWORK_OPS
from nas_jax.networks.supernet import Dtype, Supernet
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask, nasbench201_space
from nas_jax.spaces.nasbench201 import check_connected

AnySupernet = Supernet | NasBench201Supernet
"""A network of images and architecture weights, with the `mask` that it is built of."""

AnyNetwork = DerivedNetwork | NasBench201Network
"""A network of images that is trained from scratch."""


def is_nasbench201(space: SearchSpace) -> bool:
    """Whether the networks of a space are those of NAS-Bench-201."""
    return space == nasbench201_space()


def get_supernet(
    mask: SpaceMask,
    channels: int,
    layers: int,
    num_classes: int,
    *,
    remat: Remat = "op",
    dtype: Dtype = "float32",
) -> AnySupernet:
    """The supernet of a mask's space, with the operations that the mask keeps.

    Args:
        mask: The operations to build.
        channels: Channels of the first cell.
        layers: Cells of the network; of each of three stages in NAS-Bench-201.
        num_classes: Number of logits.
        remat: What the backward pass computes again.
        dtype: What convolutions and pools compute in.

    Raises:
        MaskError: The space has an operation that no network computes.
    """
    check_operations(mask.space)
    if is_nasbench201(mask.space):
        return NasBench201Supernet(
            mask, channels, layers, num_classes, remat=remat, dtype=dtype
        )
    return Supernet(mask, channels, layers, num_classes, remat=remat, dtype=dtype)


def get_network(
    genotype: Genotype, channels: int, layers: int, num_classes: int
) -> AnyNetwork:
    """The network of an architecture, to be trained from scratch.

    Args:
        genotype: The architecture.
        channels: Channels of the first cell.
        layers: Cells of the network; of each of three stages in NAS-Bench-201.
        num_classes: Number of logits.

    Raises:
        GenotypeError: No path leads from the input of the cell to its output.
        MaskError: The space has an operation that no network computes.
    """
    check_operations(genotype.space)
    if is_nasbench201(genotype.space):
        check_connected(genotype)
        return NasBench201Network(genotype, channels, layers, num_classes)
    return DerivedNetwork(genotype, channels, layers, num_classes)


def check_images(space: SearchSpace, height: int, width: int, layers: int) -> None:
    """Refuse images that the networks of a space cannot halve as often as they do.

    Raises:
        ConfigError: Names the size and the nearest that works.
    """
    if is_nasbench201(space):
        check_halves(height, width)
    else:
        check_image(height, width, layers)


def check_operations(space: SearchSpace) -> None:
    """Refuse a space of the DARTS kind with operations that no network computes.

    Raises:
        MaskError: Names them and what there is.
    """
    if is_nasbench201(space):
        return
    ops = dict.fromkeys(op for cell in space.cells for op in cell.ops)
    missing = [op for op in ops if op not in NETWORK_OPS]
    if missing:
        raise MaskError(
            f"no network computes {', '.join(missing)} of search space {space.name!r}; "
            f"choose a space of these operations: {', '.join(NETWORK_OPS)}"
        )
