"""Proxies of the neural tangent kernel of a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import is_kernel, is_scale, masked
from nas_jax.proxies.network import Batch, Params, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered
from nas_jax.proxies.spectrum import (
    condition_number,
    eigenvalue_score,
    gram_eigenvalues,
)

NTK_EPSILON = 1.0
"""k of the eigenvalue score of a kernel that is no correlation matrix (ETE-NAS,
common_methods.py)."""

_KERNEL: Facts = {
    "cost": "1 forward pass, a backward pass an image",
    "needs_gradient": True,
    "intermediate": "weight_gradients",
    "compares_images": True,
}


def weight_gradients(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """Gradient of the sum of an image's logits, a row for each image, `[B, weights]`.

    Of kernels and of the factors of normalisations, not of biases and shifts, with the
    statistics of the whole batch: TE-NAS (arXiv 2102.11535; lib/procedures/ntk.py).
    One backward pass for each image, so TE-NAS takes few: 14 of CIFAR-10, 24 of
    ImageNet.
    """

    def summed(params: Params) -> jax.Array:
        logits = network.logits(params, batch.images, norm="batch")
        return jnp.sum(logits, axis=-1)

    def flat(gradient: Params) -> jax.Array:
        paths, _ = jax.tree_util.tree_flatten_with_path(gradient)
        live = jax.tree.leaves(network.live)
        return jnp.concatenate(
            [
                masked(alive, array).reshape(-1)
                for (path, array), alive in zip(paths, live, strict=True)
                if is_kernel(alive, array) or is_scale(path)
            ]
        )

    def compute() -> jax.Array:
        sums, pull = jax.vjp(summed, network.params)
        one_hot = jnp.eye(sums.shape[0], dtype=sums.dtype)
        # One after the other, as far as not told otherwise: the backward pass is the
        # memory.
        size = network.rows_at_once if network.rows_at_once > 1 else None
        return jax.lax.map(lambda row: flat(pull(row)[0]), one_hot, batch_size=size)

    return network.shared("weight_gradients", batch, compute)


@registered(
    title="NTK, condition number",
    higher_is_better=False,
    reference="arXiv 2102.11535, section 3.1.1",
    **_KERNEL,
)
def ntk_cond(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Condition number lambda_max / lambda_min of the neural tangent kernel.

    Chen et al. 2021 (TE-NAS, arXiv 2102.11535), section 3.1.1; lower is better. NaN
    stays NaN, where the public code says 100000. Infinite where lambda_min is 0 but for
    rounding, as it is where nothing but pooling and the classifier follows the last
    normalisations: the batch's mean of the logits is then a constant. (TE-NAS gives its
    networks one more normalisation and a ReLU there.)
    """
    return condition_number(weight_gradients(network, batch))


@registered(
    title="NTK, eigenvalue score",
    reference="ETE-NAS (ICASSP 2023), eigenvalue score; arXiv 2102.11535",
    **_KERNEL,
)
def ntk_eigen(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """-sum [log(lambda + 1) + 1 / (lambda + 1)] of the neural tangent kernel.

    Rumiantsev and Coates 2023 (ETE-NAS, ICASSP; common_methods.py), the score of
    Mellor et al. (arXiv 2006.04647v1) on the kernel of TE-NAS (arXiv 2102.11535).
    """
    eigenvalues = gram_eigenvalues(weight_gradients(network, batch))
    return eigenvalue_score(eigenvalues, NTK_EPSILON)
