"""How it is computed: operations, engines, supernets and networks. Flax linen."""

import typing

from nas_jax.networks.darts import DARTS
from nas_jax.networks.darts.coded import CodedDarts
from nas_jax.networks.darts.edges import from_edges, to_edges
from nas_jax.networks.darts.network import DerivedNetwork
from nas_jax.networks.darts.supernet import Supernet
from nas_jax.networks.engines import Dtype, Remat
from nas_jax.networks.engines.weights import (
    ArchWeights,
    init_alphas,
    mixture_weights,
    zero_alphas,
)
from nas_jax.networks.family import (
    FAMILIES,
    AnyNetwork,
    AnySupernet,
    Architectures,
    Candidates,
    NetworkFamily,
    Scorable,
    Size,
    check_size,
    family_of,
    functions_of,
    register_family,
)
from nas_jax.networks.layers import Layers, Norm
from nas_jax.networks.nasbench201 import NASBENCH201
from nas_jax.networks.nasbench201.coded import CodedNasBench201
from nas_jax.networks.nasbench201.network import NasBench201Network
from nas_jax.networks.nasbench201.supernet import NasBench201Supernet
from nas_jax.networks.ops import OPS, Form, Op, get_op, register_op
from nas_jax.networks.parameters import (
    Spec,
    Variables,
    abstract_variables,
    init_variables,
    num_parameters,
)
from nas_jax.networks.record import Gate, Observed

REMATS: tuple[str, ...] = typing.get_args(Remat)
"""What a backward pass may compute again, see `Supernet`."""
DTYPES: tuple[str, ...] = typing.get_args(Dtype)
"""What convolutions may compute in."""

__all__ = [
    "DARTS",
    "DTYPES",
    "FAMILIES",
    "NASBENCH201",
    "OPS",
    "REMATS",
    "AnyNetwork",
    "AnySupernet",
    "ArchWeights",
    "Architectures",
    "Candidates",
    "CodedDarts",
    "CodedNasBench201",
    "DerivedNetwork",
    "Dtype",
    "Form",
    "Gate",
    "Layers",
    "NasBench201Network",
    "NasBench201Supernet",
    "NetworkFamily",
    "Norm",
    "Observed",
    "Op",
    "Remat",
    "Scorable",
    "Size",
    "Spec",
    "Supernet",
    "Variables",
    "abstract_variables",
    "check_size",
    "family_of",
    "from_edges",
    "functions_of",
    "get_op",
    "init_alphas",
    "init_variables",
    "mixture_weights",
    "num_parameters",
    "register_family",
    "register_op",
    "to_edges",
    "zero_alphas",
]
