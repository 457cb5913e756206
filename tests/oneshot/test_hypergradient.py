"""Hypergradients of a problem that is solved by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.oneshot import (
    Objective,
    OneShotSearch,
    exact,
    finite_difference,
    first_order,
)
from tests.oneshot.toy import Toy

# With w = 2 and a = 3: L_train = a w^2 / 2 and L_valid = (w - 1)^2 / 2 + a.
W, A, RATE, MOMENTUM, DECAY = 2.0, 3.0, 0.1, 0.9, 0.5
NO_BATCH = (jnp.zeros(2), jnp.zeros(2))


def train(w: Any, a: Any, batch: Any, part: Any) -> Any:
    return a["a"] * w["w"] ** 2 / 2, jnp.zeros(())


def valid(w: Any, a: Any, batch: Any, part: Any) -> Any:
    return (w["w"] - 1) ** 2 / 2 + a["a"], jnp.zeros(())


def found(hypergradient: Any, optimiser: Any, microbatches: int = 1) -> Any:
    """Validation loss and gradient after one step that filled the momentum."""
    params, alphas = {"w": jnp.array(W)}, {"a": jnp.array(A)}
    _, state = optimiser.update({"w": jnp.array(5.0)}, optimiser.init(params), params)

    def ahead(gradient: Any) -> Any:
        return optax.apply_updates(params, optimiser.update(gradient, state, params)[0])

    objectives = (Objective(f, NO_BATCH, microbatches) for f in (valid, train))
    (loss, _), gradient = hypergradient(*objectives, ahead, params, alphas)
    return float(loss), float(gradient["a"])


def test_first_order_does_not_look_ahead() -> None:
    assert found(first_order, optax.sgd(RATE)) == (0.5 + 3, 1.0)


@pytest.mark.parametrize("hypergradient", [finite_difference, exact])
@pytest.mark.parametrize("microbatches", [1, 2])
def test_second_order_by_hand(hypergradient: Any, microbatches: int) -> None:
    # w' = 2 - .1 * 3 * 2 = 1.4; dw'/da = -.1 * 2; dL/da = 1 + .4 * -.2.
    loss, gradient = found(hypergradient, optax.sgd(RATE), microbatches)
    assert loss == pytest.approx(0.4**2 / 2 + 3)
    assert gradient == pytest.approx(1 - 0.4 * 0.2, rel=1e-4)


@pytest.mark.parametrize("hypergradient", [finite_difference, exact])
def test_the_virtual_step_has_momentum_and_decay(hypergradient: Any) -> None:
    # DARTS: w' = w - xi (mu m + g + wd w), with m = 5 + .5 * 2 of the step before.
    optimiser = optax.chain(
        optax.add_decayed_weights(DECAY), optax.sgd(RATE, momentum=MOMENTUM)
    )
    new = W - RATE * (MOMENTUM * (5 + DECAY * W) + A * W + DECAY * W)
    loss, gradient = found(hypergradient, optimiser)
    assert loss == pytest.approx((new - 1) ** 2 / 2 + A)
    assert gradient == pytest.approx(1 + (new - 1) * -RATE * W, rel=1e-4)


def test_a_virtual_step_that_stands_still_is_first_order() -> None:
    expected = found(first_order, optax.sgd(0.0))
    assert found(finite_difference, optax.sgd(0.0)) == expected
    assert found(exact, optax.sgd(0.0)) == expected


def test_both_agree_on_a_network() -> None:
    rng = np.random.default_rng(0)
    batches = [
        (jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.float32), jnp.arange(4) % 2)
        for _ in range(2)
    ]
    moved = []
    for hypergradient in (finite_difference, exact):
        search = OneShotSearch(
            Toy(), optax.sgd(0.1), optax.sgd(1.0), hypergradient=hypergradient
        )
        before = search.init(jax.random.key(0), (8, 8, 1))
        after, _ = jax.jit(search.step)(before, *batches, jax.random.key(1))
        moved.append(np.asarray(after.alphas["reduce"] - before.alphas["reduce"]))
    np.testing.assert_allclose(*moved, rtol=0.05, atol=1e-4)
    assert np.abs(moved[0]).max() > 1e-2
