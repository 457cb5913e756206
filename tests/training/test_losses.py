from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import DataError, NasJaxError
from nas_jax.training import DivergedError, check_finite, loss_and_accuracy


def test_loss_and_accuracy_by_hand() -> None:
    # Softmax of the rows: (3/4, 1/4) and (1/2, 1/2); a tie goes to class 0.
    logits = jnp.array([[math.log(3), 0.0], [1.0, 1.0]])
    loss, accuracy = loss_and_accuracy(logits, jnp.array([0, 1]))
    assert loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, rel=1e-6)
    assert accuracy == 0.5


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_diverged_loss_names_stage_step_and_remedy(loss: float) -> None:
    with pytest.raises(DivergedError) as error:
        check_finite("search", 17, loss, "epoch 2 is saved")
    message = str(error.value)
    for part in ("search", "step 17", str(loss), "epoch 2 is saved", "learning rate"):
        assert part in message
    assert isinstance(error.value, NasJaxError)


def test_a_finite_loss_passes() -> None:
    check_finite("search", 17, 1e30, "")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.eye(2, dtype=np.int32), r"shape \(2, 2\) .* give labels.argmax\(-1\)"),
        (np.zeros((2, 1), np.int32), r"labels have shape \(2, 1\)"),
        (np.zeros(3, np.int32), r"labels have shape \(3,\) for 2 images"),
        (np.zeros(2, np.float32), "labels have dtype float32; they must be integers"),
        (np.zeros(2, bool), "labels have dtype bool; they must be integers"),
        (np.array([0, 2]), "labels go from 0 to 2, but the network has 2 classes"),
        (np.array([-1, 1]), "labels go from -1 to 1"),
    ],
)
def test_what_is_no_label_is_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        loss_and_accuracy(jnp.zeros((2, 2)), jnp.asarray(labels))


def test_labels_that_are_traced_are_checked_by_shape_and_type() -> None:
    loss = jax.jit(loss_and_accuracy)
    assert loss(jnp.zeros((2, 2)), jnp.array([0, 1]))[1] == 0.5
    with pytest.raises(DataError, match=r"labels have shape \(2, 2\)"):
        loss(jnp.zeros((2, 2)), jnp.eye(2))
