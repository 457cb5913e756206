"""Proxies that read the gradient of the logits with respect to the images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.data.labels import check_batch_labels
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered
from nas_jax.proxies.spectrum import (
    centred,
    correlation,
    eigenvalue_score,
    gram_eigenvalues,
    is_rounding,
)

JACOV_EPSILON = 1e-5
"""k of Mellor et al. 2020 (arXiv 2006.04647v1)."""

EPE_EPSILON = 1e-5
"""k of Lopes et al. 2021 (arXiv 2102.08099)."""

EPE_CLASSES = 100
"""More classes than this are compared in pairs (the same paper)."""

_JACOBIAN: Facts = {
    "cost": "1 forward and 2 backward passes",
    "needs_gradient": True,
    "intermediate": "input_gradient",
    "compares_images": True,
}


def input_gradient(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """Gradient of the sum of all logits, one flat row for each image, `[B, H * W * C]`.

    Normalised by the statistics of the batch, so a row is not quite the Jacobian of its
    image, as in all public versions. Where nothing but pooling and the classifier
    follows the last normalisations, as in DARTS' cells, the mean of every feature over
    the batch is a constant: the sum has no gradient, and public versions score its
    rounding errors. Here all rows are then NaN. Such a gradient is told by its size
    beside that of the sum with alternating signs.
    """

    def sums(images: jax.Array) -> jax.Array:
        return jnp.sum(network.logits(network.params, images, norm="batch"), axis=-1)

    def compute() -> jax.Array:
        values, pull = jax.vjp(sums, batch.images)
        ones = jnp.ones_like(values)
        signs = ones.at[1::2].set(-1)
        both = jax.lax.map(lambda weights: pull(weights)[0], jnp.stack([ones, signs]))
        rows, alternating = both.reshape(2, batch.images.shape[0], -1)
        noise = is_rounding(jnp.linalg.norm(rows), jnp.linalg.norm(alternating))
        return jnp.where(noise, jnp.nan, rows)

    return network.shared("input_gradient", batch, compute)


@registered(
    title="Jacobian covariance",
    reference="arXiv 2006.04647v1, score of the correlation matrix",
    **_JACOBIAN,
)
def jacov(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """-sum [log(lambda + k) + 1 / (lambda + k)] of the Jacobians' correlation matrix.

    With its eigenvalues lambda and k = 1e-5. Mellor et al. 2020 (arXiv 2006.04647v1),
    the score of the first version. NaN where a Jacobian is constant or nothing but
    rounding errors (see `input_gradient`).
    """
    rows = centred(input_gradient(network, batch))
    return eigenvalue_score(gram_eigenvalues(rows), JACOV_EPSILON)


def per_class_score(
    correlations: jax.Array, labels: jax.Array, num_classes: int
) -> jax.Array:
    """EPE-NAS of a correlation matrix, `[B, B], [B] -> []`.

        s_c = sum over images i, j of class c of log(|corr_ij| + k)

    Up to 100 classes: sum_c |s_c|. Else, with s_c divided by the number of images n_c:
    sum_cd |s_c - s_d| / (number of classes), over classes with two images or more.
    Lopes et al. 2021 (arXiv 2102.08099), section 3, as in their code and NASLib.

    Raises:
        DataError: The labels are no classes, see `check_batch_labels`.
    """
    check_batch_labels(labels, len(correlations), num_classes)
    logs = jnp.log(jnp.abs(correlations) + EPE_EPSILON)
    member = jax.nn.one_hot(labels, num_classes, dtype=logs.dtype)
    score = jnp.einsum("ic,ij,jc->c", member, logs, member, precision="highest")
    if num_classes <= EPE_CLASSES:
        return jnp.sum(jnp.abs(score))
    count = jnp.sum(member, axis=0)
    seen = count > 1
    score = score / jnp.maximum(count, 1)
    pairs = seen[:, None] & seen[None, :]
    gaps = jnp.where(pairs, jnp.abs(score[:, None] - score[None, :]), 0)
    return jnp.sum(gaps) / jnp.sum(seen)


@registered(
    title="EPE-NAS",
    needs_labels=True,
    reference="arXiv 2102.08099, section 3",
    **_JACOBIAN,
)
def epe_nas(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """How much the Jacobians of one class's images correlate, over all classes.

    Lopes et al. 2021 (arXiv 2102.08099), section 3; see `per_class_score`. NaN where a
    Jacobian is constant or nothing but rounding errors (see `input_gradient`).
    """
    correlations = correlation(input_gradient(network, batch))
    _, num_classes = network.logits_shape(batch)
    return per_class_score(correlations, batch.labels, num_classes)
