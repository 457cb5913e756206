"""The optimisers of DARTS, as optax transformations."""

from __future__ import annotations

import optax


def sgd_cosine(
    learning_rate: float,
    steps: int,
    *,
    steps_per_epoch: int,
    minimum: float = 0.0,
    momentum: float = 0.9,
    weight_decay: float = 3e-4,
    gradient_clip: float = 5.0,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """SGD with momentum, L2 penalty, clipping by global norm and a cosine schedule.

    The schedule moves once an epoch, as in DARTS (Liu et al. 2019, arXiv 1806.09055,
    section 3.1.1; cnn/train_search.py). PyTorch's order: clip the loss's gradient,
    then add the penalty, then accumulate momentum.

    Args:
        learning_rate: Start of the schedule.
        steps: Of the whole run.
        steps_per_epoch: Steps between two moves of the schedule.
        minimum: End of the schedule.
        momentum: Weight of the past gradients.
        weight_decay: Weight of the L2 penalty.
        gradient_clip: Largest global norm of the gradient.

    Returns:
        The transformation, and the schedule of its learning rate by step.
    """
    epochs = max(1, steps // steps_per_epoch)
    cosine = optax.cosine_decay_schedule(
        learning_rate, epochs, alpha=minimum / learning_rate
    )

    def schedule(step: optax.Numeric) -> optax.Numeric:
        return cosine(step // steps_per_epoch)

    return (
        optax.chain(
            optax.clip_by_global_norm(gradient_clip),
            optax.add_decayed_weights(weight_decay),
            optax.trace(decay=momentum),
            optax.scale_by_learning_rate(schedule),
        ),
        schedule,
    )


def alpha_adam(
    learning_rate: float = 3e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    weight_decay: float = 1e-3,
) -> optax.GradientTransformation:
    """Adam with PyTorch's L2 penalty, which is part of the gradient (cnn/architect.py).

    `betas` are the decay rates of the first and second moment.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(*betas),
        optax.scale_by_learning_rate(learning_rate),
    )
