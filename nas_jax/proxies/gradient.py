"""Proxies that read the gradient of the loss at initialisation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.proxies.proxy import Batch, Params, Proxy, ScoredNetwork, register_proxy


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over the batch of -log softmax(logits)[label]; `[B, classes], [B] -> []`."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))


def loss_gradient(network: ScoredNetwork, batch: Batch) -> Params:
    """Gradient of the cross-entropy with respect to the parameters."""

    def loss(params: Params) -> jax.Array:
        logits = network.logits(params, batch.images, norm="batch")
        return cross_entropy(logits, batch.labels)

    return network.shared(
        "loss_gradient", batch, lambda: jax.grad(loss)(network.params)
    )


def grad_norm(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """sum_l ||dL/dW_l||_2: the sum of the layers' norms, not the global norm.

    Abdelfattah et al. 2021 (arXiv 2101.08134), section 3.1.
    """
    gradient = loss_gradient(network, batch)
    return sum_over_weights(jnp.square, jnp.sqrt, network.live, gradient)


def snip(network: ScoredNetwork, batch: Batch) -> jax.Array:
    """sum |dL/dW * W| over all weights.

    Lee et al. 2019 (arXiv 1810.02340), equation 4, summed as in Abdelfattah et al.
    2021 (arXiv 2101.08134), equation 1.
    """
    gradient = loss_gradient(network, batch)
    return sum_over_weights(
        lambda w, g: jnp.abs(w * g), lambda s: s, network.live, network.params, gradient
    )


GRAD_NORM = register_proxy(
    Proxy(
        "grad_norm",
        grad_norm,
        higher_is_better=True,
        needs_labels=True,
        needs_gradient=True,
        norm="batch",
        input_kind="data",
        reference="arXiv 2101.08134, section 3.1",
    )
)
SNIP = register_proxy(
    Proxy(
        "snip",
        snip,
        higher_is_better=True,
        needs_labels=True,
        needs_gradient=True,
        norm="batch",
        input_kind="data",
        reference="arXiv 1810.02340, equation 4; arXiv 2101.08134, equation 1",
    )
)
