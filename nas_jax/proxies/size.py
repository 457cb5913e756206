"""Proxies that only count, or look at the weights alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import count_parameters, sum_over_weights
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered, require

SEPARABLE = ("sep_conv_3x3", "sep_conv_5x5")
"""The separable convolutions of the DARTS space."""

_COUNT: Facts = {"cost": "nothing is run", "input_kind": "none"}


@registered(title="parameters", reference="baseline of arXiv 2101.08134", **_COUNT)
def params(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Number of parameters of the layers that take part, as a float.

    Baseline of Abdelfattah et al. 2021 (arXiv 2101.08134) and of every later study.
    Those of normalisations count, as published counts do, also where the network for
    scoring has none (`ScoredNetwork.unbuilt`).
    """
    return count_parameters(network.live, network.params) + network.unbuilt


@registered(
    title="multiply-accumulates",
    reference="baseline of arXiv 2210.03230",
    needs=("macs",),
    **_COUNT,
)
def flops(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Multiply-accumulates for one image of the batch's shape, as a float.

    Convolutions and matrix products only: half of the floating-point operations, which
    NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv 2210.03230) calls flops.

    Raises:
        ConfigError: If the count depends on data.
    """
    return require("flops", "macs", network.macs)(batch.images.shape[1:])


@registered(title="L2 norm", reference="baseline of arXiv 2210.03230", **_COUNT)
def l2_norm(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum_l ||W_l||_2 of the initial weights.

    NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv 2210.03230).
    """
    return sum_over_weights(
        jnp.square, network.live, network.params, per_layer=jnp.sqrt
    )


@registered(
    title="separable convolutions",
    reference="baseline of arXiv 2404.16551",
    needs=("operations",),
    **_COUNT,
)
def sep_convs(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Number of separable convolutions in the architecture, 3x3 and 5x5, as a float.

    The baseline that a proxy must beat in the DARTS space: with NAS-Bench-301 it
    correlates as well as most. Kadlecova et al. 2024 (arXiv 2404.16551).
    """
    counts = require("sep_convs", "operations", network.operations)
    present = [jnp.asarray(counts[name], float) for name in SEPARABLE if name in counts]
    return sum(present, jnp.zeros((), float))
