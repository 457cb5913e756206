"""States, steps, optimisers and loops; training a genotype from scratch."""

from nas_jax.training.batches import Augment, DeviceImages
from nas_jax.training.losses import (
    REMEDY,
    DivergedError,
    check_finite,
    check_finite_state,
    loss_and_accuracy,
)
from nas_jax.training.optimisers import alpha_adam, sgd_cosine
from nas_jax.training.retrain import Trainer, TrainResult, TrainState, retrain

__all__ = [
    "REMEDY",
    "Augment",
    "DeviceImages",
    "DivergedError",
    "TrainResult",
    "TrainState",
    "Trainer",
    "alpha_adam",
    "check_finite",
    "check_finite_state",
    "loss_and_accuracy",
    "retrain",
    "sgd_cosine",
]
