"""Proxies that only count, or look at the weights alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import count_parameters, sum_over_weights
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import Proxy, register_proxy, require

SEPARABLE = ("sep_conv_3x3", "sep_conv_5x5")
"""The separable convolutions of the DARTS space."""


def params(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Number of parameters of the layers that take part, as a float.

    Baseline of Abdelfattah et al. 2021 (arXiv 2101.08134) and of every later study.
    Those of normalisations count, as published counts do, also where the network for
    scoring has none (`ScoredNetwork.unbuilt`).
    """
    del batch, key
    return count_parameters(network.live, network.params) + network.unbuilt


def flops(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Multiply-accumulates for one image of the batch's shape, as a float.

    Convolutions and matrix products only: half of the floating-point operations, which
    NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv 2210.03230) calls flops.

    Raises:
        ConfigError: If the network cannot tell, or the count depends on data.
    """
    del key
    macs = require("flops", "macs", network.macs)
    return macs(batch.images.shape[1:])


def l2_norm(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum_l ||W_l||_2 of the initial weights.

    NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv 2210.03230).
    """
    del batch, key
    return sum_over_weights(jnp.square, jnp.sqrt, network.live, network.params)


def sep_convs(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Number of separable convolutions in the architecture, 3x3 and 5x5, as a float.

    The baseline that a proxy must beat in the DARTS space: with NAS-Bench-301 it
    correlates as well as most. Kadlecova et al. 2024 (arXiv 2404.16551).

    Raises:
        ConfigError: If the network cannot tell its operations.
    """
    del batch, key
    counts = require("sep_convs", "operations", network.operations)
    present = [jnp.asarray(counts[name], float) for name in SEPARABLE if name in counts]
    return sum(present, jnp.zeros((), float))


register_proxy(
    Proxy(
        "params",
        params,
        title="parameters",
        cost="nothing is run",
        input_kind="none",
        reference="baseline of arXiv 2101.08134",
    )
)
register_proxy(
    Proxy(
        "flops",
        flops,
        title="multiply-accumulates",
        cost="nothing is run",
        input_kind="none",
        reference="baseline of arXiv 2210.03230",
        needs=("macs",),
    )
)
register_proxy(
    Proxy(
        "l2_norm",
        l2_norm,
        title="L2 norm",
        cost="nothing is run",
        input_kind="none",
        reference="baseline of arXiv 2210.03230",
    )
)
register_proxy(
    Proxy(
        "sep_convs",
        sep_convs,
        title="separable convolutions",
        cost="nothing is run",
        input_kind="none",
        reference="baseline of arXiv 2404.16551",
        needs=("operations",),
    )
)
