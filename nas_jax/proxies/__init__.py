"""Training-free scores of untrained networks: one formula, one function."""

from nas_jax.proxies.activation import hamming_kernel, nwot
from nas_jax.proxies.gradient import cross_entropy, grad_norm, snip
from nas_jax.proxies.proxy import (
    Batch,
    Proxy,
    ScoredNetwork,
    get_proxy,
    list_proxies,
    register_proxy,
)
from nas_jax.proxies.size import params
from nas_jax.proxies.synflow import synflow

__all__ = [
    "Batch",
    "Proxy",
    "ScoredNetwork",
    "cross_entropy",
    "get_proxy",
    "grad_norm",
    "hamming_kernel",
    "list_proxies",
    "nwot",
    "params",
    "register_proxy",
    "snip",
    "synflow",
]
