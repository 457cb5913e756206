from __future__ import annotations

import math

import jax.numpy as jnp
import pytest

from nas_jax.errors import NasJaxError
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
