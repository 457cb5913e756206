"""DARTS: Differentiable Architecture Search (Liu et al. 2019, arXiv 1806.09055)."""

from __future__ import annotations

from typing import Any

from nas_jax.networks import AnySupernet
from nas_jax.oneshot.algorithm import OneShotSearch
from nas_jax.oneshot.hypergradient import (
    Hypergradient,
    finite_difference,
    first_order,
)
from nas_jax.oneshot.registry import register_algorithm
from nas_jax.oneshot.relaxation import softmax
from nas_jax.spaces import discretise
from nas_jax.training import alpha_adam, sgd_cosine


def darts(
    network: AnySupernet,
    *,
    total_steps: int,
    steps_per_epoch: int = 1,
    weight_learning_rate: float = 0.025,
    weight_learning_rate_min: float = 0.001,
    weight_momentum: float = 0.9,
    weight_decay: float = 3e-4,
    gradient_clip: float = 5.0,
    alpha_learning_rate: float = 3e-4,
    alpha_betas: tuple[float, float] = (0.5, 0.999),
    alpha_weight_decay: float = 1e-3,
    microbatches: int = 1,
    hypergradient: Hypergradient = first_order,
) -> OneShotSearch:
    """Algorithm 1, of first order (xi = 0); constants of `cnn/train_search.py`.

    The two moves of a step are written out in `OneShotSearch.step`.
    """
    weights, learning_rate = sgd_cosine(
        weight_learning_rate,
        total_steps,
        steps_per_epoch=steps_per_epoch,
        minimum=weight_learning_rate_min,
        momentum=weight_momentum,
        weight_decay=weight_decay,
        gradient_clip=gradient_clip,
    )
    return OneShotSearch(
        network,
        weights,
        alpha_adam(alpha_learning_rate, alpha_betas, alpha_weight_decay),
        relaxation=softmax,
        hypergradient=hypergradient,
        select=discretise,
        microbatches=microbatches,
        learning_rate=learning_rate,
    )


def darts_second_order(network: AnySupernet, **options: Any) -> OneShotSearch:
    """The same with `--unrolled`: alphas see weights one virtual step ahead."""
    return darts(network, hypergradient=finite_difference, **options)


_PAPER = "Liu et al. 2019, arXiv 1806.09055"
register_algorithm("darts", darts, title="DARTS of first order", reference=_PAPER)
register_algorithm(
    "darts_second_order",
    darts_second_order,
    title="DARTS of second order, by finite differences",
    reference=_PAPER,
)
