"""Proxies of the network's Gaussian-process kernel: outputs of images, compared.

The kernel of one untrained network is a one-sample estimate of the NNGP kernel, as in
Park et al. 2020 (arXiv 2011.06006) and ETE-NAS (Rumiantsev and Coates 2023, ICASSP),
whose metrics these are (lib/procedures/{nngp,common_methods}.py).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.data.labels import check_batch_labels
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered, require
from nas_jax.proxies.spectrum import (
    condition_number,
    correlation,
    eigenvalue_score,
    gram,
    gram_eigenvalues,
)

NNGP_EPSILON = 1.0
"""k of the eigenvalue score (ETE-NAS, common_methods.py)."""
_KERNEL: Facts = {
    "cost": "1 forward pass",
    "intermediate": "logits",
    "compares_images": True,
    "reference": "ETE-NAS (ICASSP 2023); arXiv 2011.06006",
}


def batch_logits(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """Logits `[B, classes]`, normalised by the statistics of the batch."""
    return network.shared(
        "logits",
        batch,
        lambda: network.logits(network.params, batch.images, norm="batch"),
    )


@registered(title="NNGP, Frobenius norm", **_KERNEL)
def nngp_frobenius(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """||K||_F of the images' correlation K over the logits.

    ETE-NAS (Rumiantsev and Coates 2023; arXiv 2011.06006 for the kernel). With two
    classes it is B for every network: logits without their mean are then opposite.
    """
    return jnp.linalg.norm(correlation(batch_logits(network, batch)))


@registered(title="NNGP, mean", **_KERNEL)
def nngp_mean(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Mean entry of the images' correlation K over the logits.

    ETE-NAS (Rumiantsev and Coates 2023; arXiv 2011.06006 for the kernel).
    """
    return jnp.mean(correlation(batch_logits(network, batch)))


@registered(
    title="NNGP, eigenvalue score",
    needs=("features",),
    **_KERNEL | {"intermediate": "observed"},
)
def nngp_eigen(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """-sum [log(lambda + 1) + 1 / (lambda + 1)] of K = features features^T.

    ETE-NAS (Rumiantsev and Coates 2023; arXiv 2011.06006 for the kernel).
    """
    features = require("nngp_eigen", "features", network.observed(batch).features)
    return eigenvalue_score(gram_eigenvalues(features), NNGP_EPSILON)


@registered(title="NNGP, condition number", **_KERNEL)
def nngp_cond(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Condition number lambda_max / lambda_min of K = logits logits^T.

    ETE-NAS (Rumiantsev and Coates 2023; arXiv 2011.06006 for the kernel), which reads a
    higher one as better, unlike TE-NAS that of its tangent kernel. K has no more
    eigenvalues than classes that are not 0: with more images than classes the public
    code divides by rounding errors, and this takes the smallest one that counts.
    """
    return condition_number(batch_logits(network, batch))


def label_alignment(kernel: jax.Array, labels: jax.Array) -> jax.Array:
    """Cosine of a kernel and of whether labels agree (1 or -1), both without mean.

    Mok et al. 2022 (arXiv 2203.14577), label-gradient alignment; `[B, B], [B] -> []`.
    NaN where all labels are the same.
    """
    agree = jnp.where(labels[:, None] == labels[None, :], 1.0, -1.0)
    agree = (agree - jnp.mean(agree)).astype(kernel.dtype)
    kernel = kernel - jnp.mean(kernel)
    return jnp.sum(kernel * agree) / (jnp.linalg.norm(kernel) * jnp.linalg.norm(agree))


@registered(
    title="NNGP, label alignment",
    higher_is_better=False,
    needs_labels=True,
    **_KERNEL
    | {
        "reference": "ETE-NAS (ICASSP 2023); arXiv 2203.14577, label-gradient alignment"
    },
)
def nngp_lga(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """Alignment of K = logits logits^T with the labels, in [-1, 1].

    Mok et al. 2022 (arXiv 2203.14577) on the kernel of ETE-NAS (Rumiantsev and Coates
    2023), whose configuration gives it the sign -1 at initialisation (and whose code
    then leaves out); Mok et al. read the tangent kernel's as higher is better, after
    some training.
    """
    logits = batch_logits(network, batch)
    check_batch_labels(batch.labels, *logits.shape)
    return label_alignment(gram(logits), batch.labels)
