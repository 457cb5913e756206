"""Training-free scores of untrained networks: one formula, one function.

Any apply function can be scored, whatever library it is written with:

    >>> import jax, jax.numpy as jnp
    >>> from nas_jax.proxies import Batch, ScoredNetwork, get_proxy
    >>> def logits(params, images, *, norm):  # norm: what batch normalisation does
    ...     hidden = jax.nn.relu(images.reshape(len(images), -1) @ params["in"])
    ...     return hidden @ params["out"]
    >>> params = {"in": jnp.ones((12, 5)), "out": jnp.ones((5, 3))}
    >>> network = ScoredNetwork.plain(logits, params)
    >>> batch = Batch(images=jnp.ones((4, 2, 2, 3)), labels=jnp.array([0, 1, 2, 0]))
    >>> for name in ("params", "flops", "synflow"):
    ...     print(name, get_proxy(name).score(network, batch, jax.random.key(0)))
    params 75.0
    flops 75.0
    synflow 360.0

`list_proxies()` names them all and `get_proxy(name)` says what each needs. Proxies that
look inside the network need an `observe` function that returns what they read
(`Observed`). Every score is a pure function of arrays: `jax.jit` and `jax.vmap` it.
"""

from nas_jax.proxies.activation import hamming_kernel, nwot
from nas_jax.proxies.ensemble import majority_vote, rank_sum, z_score_sum
from nas_jax.proxies.failed import failures
from nas_jax.proxies.fisher import fisher
from nas_jax.proxies.gradient import cross_entropy, grad_norm, grasp, plain, snip
from nas_jax.proxies.jacobian import epe_nas, jacov
from nas_jax.proxies.macs import count_macs
from nas_jax.proxies.network import Batch, Gate, Observed, ScoredNetwork
from nas_jax.proxies.nngp import (
    nngp_cond,
    nngp_eigen,
    nngp_frobenius,
    nngp_lga,
    nngp_mean,
)
from nas_jax.proxies.ntk import ntk_cond, ntk_eigen
from nas_jax.proxies.proxy import (
    Proxy,
    get_proxy,
    list_proxies,
    register_proxy,
    registered,
)
from nas_jax.proxies.regions import linear_regions_proxy
from nas_jax.proxies.size import flops, l2_norm, params, sep_convs
from nas_jax.proxies.synflow import logsynflow, synflow
from nas_jax.proxies.zen import zen
from nas_jax.proxies.zico import zico

__all__ = [
    "Batch",
    "Gate",
    "Observed",
    "Proxy",
    "ScoredNetwork",
    "count_macs",
    "cross_entropy",
    "epe_nas",
    "failures",
    "fisher",
    "flops",
    "get_proxy",
    "grad_norm",
    "grasp",
    "hamming_kernel",
    "jacov",
    "l2_norm",
    "linear_regions_proxy",
    "list_proxies",
    "logsynflow",
    "majority_vote",
    "nngp_cond",
    "nngp_eigen",
    "nngp_frobenius",
    "nngp_lga",
    "nngp_mean",
    "ntk_cond",
    "ntk_eigen",
    "nwot",
    "params",
    "plain",
    "rank_sum",
    "register_proxy",
    "registered",
    "sep_convs",
    "snip",
    "synflow",
    "z_score_sum",
    "zen",
    "zico",
]
