"""Proxies that read the gradient of the loss at initialisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.data.labels import check_batch_labels
from nas_jax.proxies.layerwise import only_kernels, sum_over_weights
from nas_jax.proxies.network import Batch, Params, ScoredNetwork
from nas_jax.proxies.proxy import Facts, registered

_LOSS: Facts = {
    "cost": "1 forward and backward pass",
    "needs_labels": True,
    "needs_gradient": True,
    "intermediate": "loss_gradient",
}


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch of -log softmax(logits)[label]; `[B, classes], [B] -> []`.

    Raises:
        DataError: The labels are no classes, see `check_batch_labels`.
    """
    check_batch_labels(labels, *logits.shape)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))


def network_loss(network: ScoredNetwork, params: Params, batch: Batch) -> jax.Array:
    """Cross-entropy of a batch, normalised by its own statistics, a scalar."""
    logits = network.logits(params, batch.images, norm="batch")
    return cross_entropy(logits, batch.labels)


def loss_gradient(network: ScoredNetwork, batch: Batch) -> Params:
    """Gradient of the cross-entropy with respect to the parameters."""
    return network.shared(
        "loss_gradient",
        batch,
        lambda: jax.grad(lambda p: network_loss(network, p, batch))(network.params),
    )


@registered(title="gradient norm", reference="arXiv 2101.08134, section 3.1", **_LOSS)
def grad_norm(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum_l ||dL/dW_l||_2: the sum of the layers' norms, not the global norm.

    Abdelfattah et al. 2021 (arXiv 2101.08134), section 3.1.
    """
    gradient = loss_gradient(network, batch)
    return sum_over_weights(jnp.square, network.live, gradient, per_layer=jnp.sqrt)


@registered(
    title="SNIP",
    reference="arXiv 1810.02340, equation 4; arXiv 2101.08134, equation 1",
    **_LOSS,
)
def snip(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum |dL/dW * W| over all weights.

    Lee et al. 2019 (arXiv 1810.02340), equation 4, summed as in Abdelfattah et al.
    2021 (arXiv 2101.08134), equation 1.
    """
    gradient = loss_gradient(network, batch)
    return sum_over_weights(
        lambda w, g: jnp.abs(w * g), network.live, network.params, gradient
    )


@registered(
    title="plain",
    higher_is_better=False,
    reference="Mozer and Smolensky 1989; arXiv 2210.03230",
    **_LOSS,
)
def plain(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum dL/dW * W over all weights, with its sign.

    To first order it is how much the loss falls when all weights go. Mozer and
    Smolensky 1989 ("Skeletonization", relevance -dE/d alpha, with the other sign),
    summed as in NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv 2210.03230).
    Relevance is high where this is low, and its published correlations with accuracy
    are negative, so lower is better.
    """
    gradient = loss_gradient(network, batch)
    return sum_over_weights(lambda w, g: w * g, network.live, network.params, gradient)


@registered(
    title="GraSP",
    reference="arXiv 2002.07376, S(-theta); arXiv 2101.08134, equation 1",
    **_LOSS | {"cost": "3 forward and backward passes"},
)
def grasp(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
    """sum -W * (H g) over all weights, with the gradient g and the Hessian H.

    Both are of the weights of the layers only, at temperature 1, on the whole batch.
    Wang et al. 2020 (arXiv 2002.07376), S(-theta) = -theta * H g, summed as in
    Abdelfattah et al. 2021 (arXiv 2101.08134), equation 1. Its sign is zero-cost-nas',
    for which higher is better; GraSP itself removes the weights that score highest.

    The product H g is exact: the gradient of <g, dL/dW> with g held fixed. Two reverse
    passes, since a network with derivatives of its own (`jax.custom_vjp`), as the
    supernets here have, has no forward-mode derivative.
    """
    fixed = only_kernels(network.live, loss_gradient(network, batch))

    def along_gradient(params: Params) -> jax.Array:
        gradient = jax.grad(lambda p: network_loss(network, p, batch))(params)
        parts = jax.tree.map(lambda g, f: jnp.sum(g * f), gradient, fixed)
        return jnp.sum(jnp.stack(jax.tree.leaves(parts)))

    product = jax.grad(along_gradient)(network.params)
    return sum_over_weights(
        lambda w, hg: -w * hg, network.live, network.params, product
    )
