"""Proxies that read which ReLUs are active."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import registered, require


def hamming_kernel(inputs: jax.Array, counts: jax.Array) -> jax.Array:
    """Number of ReLUs on which two images agree, `[B, B]` float32 or wider.

        K = sum_k counts_k (x x^T + (1 - x)(1 - x)^T),  x = 1[input > 0]

    Mellor et al. 2021 (arXiv 2006.04647), equation 2.

    Args:
        inputs: `[K, B, ...]`, what K stacked ReLUs receive.
        counts: `[K]`, how many ReLUs receive it.

    Raises:
        ConfigError: There is not one count for each stacked ReLU.
    """
    if counts.shape != inputs.shape[:1]:
        raise ConfigError(
            f"counts have shape {counts.shape} for {len(inputs)} stacked ReLUs; give "
            "one number for each"
        )
    dtype = jnp.promote_types(inputs.dtype, jnp.float32)
    counts = counts.astype(dtype)

    def agree(index: jax.Array) -> jax.Array:
        one = lax.dynamic_index_in_dim(inputs, index, keepdims=False)
        active = (one > 0).astype(dtype).reshape(one.shape[0], -1)
        both, single = active @ active.T, jnp.sum(active, axis=-1)
        # (1 - x)(1 - x)^T = P - x 1^T - 1 x^T + x x^T, with P pixels.
        return active.shape[-1] + 2 * both - single[:, None] - single

    def add(index: jax.Array, kernel: jax.Array) -> jax.Array:
        # Many stacked ReLUs belong to operations that a network does not have.
        count = counts[index]
        return lax.cond(
            count > 0, lambda: kernel + count * agree(index), lambda: kernel
        )

    zeros = jnp.zeros((inputs.shape[1],) * 2, dtype)
    kernel: jax.Array = lax.fori_loop(0, len(inputs), add, zeros)
    return kernel


@registered(
    title="NWOT",
    cost="1 forward pass",
    reference="arXiv 2006.04647, equations 2 and 3",
    needs=("relu_inputs",),
    intermediate="observed",
    compares_images=True,
)
def nwot(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """log |det K| of the kernel of activation patterns, summed over all ReLUs.

    Mellor et al. 2021 (arXiv 2006.04647), equation 3. ETE-NAS calls it the ReLU regions
    distance. Minus infinity where two images have the same pattern in all ReLUs, which
    makes the determinant 0: as equal images have, and all images where no path leads to
    a ReLU. The public codes say minus infinity too, or what rounding leaves of it.

    Raises:
        ConfigError: If the network has no ReLUs.
    """
    pairs = require("nwot", "relu_inputs", network.observed(batch).relu_inputs)
    if not pairs:
        raise ConfigError(
            "nwot reads which ReLUs are active, and this network tells of none; "
            "choose a proxy that does without: epe_nas, jacov, params, synflow"
        )
    kernel = functools.reduce(jnp.add, [hamming_kernel(*pair) for pair in pairs])
    # Scaled to 1 on the diagonal: the determinant of B pixels' counts overflows.
    scale = jnp.maximum(kernel[0, 0], 1.0)
    log_det = jnp.linalg.slogdet(kernel / scale)[1]
    # Rounding leaves some -40 of a determinant that is 0.
    agree = jnp.sum(kernel == kernel[0, 0]) > kernel.shape[0]
    return jnp.where(agree, -jnp.inf, log_det + kernel.shape[0] * jnp.log(scale))
