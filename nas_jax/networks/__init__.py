"""How it is computed: operations, cells, supernet and discrete network. Flax linen."""

import typing

from nas_jax.networks.backbone import check_image, reduction_layers
from nas_jax.networks.cell import Remat
from nas_jax.networks.darts_family import DartsFamily, darts_codes
from nas_jax.networks.depthwise import depthwise_conv
from nas_jax.networks.derived import DerivedNetwork
from nas_jax.networks.edges import from_edges, to_edges
from nas_jax.networks.init import (
    Variables,
    abstract_variables,
    init_variables,
    num_parameters,
)
from nas_jax.networks.nasbench201 import NasBench201Family
from nas_jax.networks.nasbench201_network import NasBench201Network
from nas_jax.networks.nasbench201_supernet import NasBench201Supernet
from nas_jax.networks.operations import NETWORK_OPS
from nas_jax.networks.registry import (
    AnyNetwork,
    AnySupernet,
    check_images,
    get_network,
    get_supernet,
    is_nasbench201,
)
from nas_jax.networks.supernet import (
    ArchWeights,
    Dtype,
    Supernet,
    init_alphas,
    mixture_weights,
    zero_alphas,
)

REMATS: tuple[str, ...] = typing.get_args(Remat)
"""What a backward pass may compute again, see `Supernet`."""
DTYPES: tuple[str, ...] = typing.get_args(Dtype)
"""What convolutions may compute in."""

__all__ = [
    "DTYPES",
    "NETWORK_OPS",
    "REMATS",
    "AnyNetwork",
    "AnySupernet",
    "ArchWeights",
    "DartsFamily",
    "DerivedNetwork",
    "NasBench201Family",
    "NasBench201Network",
    "NasBench201Supernet",
    "Supernet",
    "Variables",
    "abstract_variables",
    "check_image",
    "check_images",
    "darts_codes",
    "depthwise_conv",
    "from_edges",
    "get_network",
    "get_supernet",
    "init_alphas",
    "init_variables",
    "is_nasbench201",
    "mixture_weights",
    "num_parameters",
    "reduction_layers",
    "to_edges",
    "zero_alphas",
]
