"""One step of first-order DARTS against a second computation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import Supernet
from nas_jax.oneshot import OneShotSearch, SearchState
from nas_jax.spaces import SpaceMask, darts_space

SPACE = darts_space(1, ("none", "skip_connect", "sep_conv_3x3"))
PRUNED = SpaceMask.full(SPACE).drop(
    [
        ("normal", 0, "none"),
        ("normal", 1, "sep_conv_3x3"),
        ("reduce", 0, "sep_conv_3x3"),
        ("reduce", 1, "skip_connect"),
    ]
)
WEIGHT_RATE, ALPHA_RATE = 0.1, 0.7
KEY = jax.random.key(7)
RNG = np.random.default_rng(0)
TRAIN, VALID = (
    (jnp.asarray(RNG.normal(size=(4, 8, 8, 1)), jnp.float32), jnp.array(labels))
    for labels in ([0, 1, 1, 0], [1, 1, 0, 0])
)


@pytest.fixture(scope="module")
def darts() -> OneShotSearch:
    network = Supernet(PRUNED, 2, 3, 2)
    return OneShotSearch(network, optax.sgd(WEIGHT_RATE), optax.sgd(ALPHA_RATE))


@pytest.fixture(scope="module")
def step(darts: OneShotSearch) -> Any:
    return jax.jit(darts.step)


@pytest.fixture(scope="module")
def start(darts: OneShotSearch) -> SearchState:
    """Fresh weights and alphas that differ."""
    state = darts.init(jax.random.key(0), (8, 8, 1))
    rng = np.random.default_rng(1)
    alphas = {
        k: jnp.asarray(rng.normal(size=a.shape), jnp.float32)
        for k, a in state.alphas.items()
    }
    return state._replace(alphas=alphas)


def loss(params: Any, alphas: Any, batch: Any) -> jax.Array:
    """The masked mixture and the cross-entropy, written out again."""
    weights = {}
    for name, kept in PRUNED.arrays().items():
        powers = jnp.where(kept, jnp.exp(jnp.where(kept, alphas[name], 0.0)), 0.0)
        weights[name] = powers / jnp.sum(powers, axis=1, keepdims=True)
    logits = Supernet(PRUNED, 2, 3, 2).apply({"params": params}, batch[0], weights)
    right = jnp.sum(logits * jnp.eye(2)[batch[1]], axis=1)
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(logits), axis=1)) - right)


def assert_close(a: Any, b: Any, **tolerance: float) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_alphas_move_first_then_weights_at_the_new_alphas(
    step: Any, start: SearchState
) -> None:
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    valid_loss, (_, alpha_gradient) = both(start.params, start.alphas, VALID)
    alphas = {k: a - ALPHA_RATE * alpha_gradient[k] for k, a in start.alphas.items()}
    train_loss, (gradient, _) = both(start.params, alphas, TRAIN)
    params = jax.tree.map(lambda w, g: w - WEIGHT_RATE * g, start.params, gradient)
    # The order shows: the old alphas give the weights another gradient.
    _, (old, _) = both(start.params, start.alphas, TRAIN)
    kernel = ("classifier", "kernel")
    assert not np.allclose(
        gradient[kernel[0]][kernel[1]], old[kernel[0]][kernel[1]], rtol=1e-4, atol=1e-6
    )

    state, metrics = step(start, TRAIN, VALID, KEY)
    assert_close(state.alphas, alphas, rtol=1e-4, atol=1e-5)
    assert_close(state.params, params, rtol=1e-3, atol=1e-5)
    assert metrics["valid_loss"] == pytest.approx(float(valid_loss), rel=1e-5)
    assert metrics["train_loss"] == pytest.approx(float(train_loss), rel=1e-5)
    assert int(state.step) == 1


def test_pruned_alphas_have_no_gradient_and_no_say(
    step: Any, start: SearchState
) -> None:
    state, metrics = step(start, TRAIN, VALID, KEY)
    kept = PRUNED.arrays()
    other = start._replace(
        alphas={k: jnp.where(kept[k], a, a + 50.0) for k, a in start.alphas.items()}
    )
    again, other_metrics = step(other, TRAIN, VALID, KEY)
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    assert metrics == other_metrics
    for name, live in kept.items():
        assert not live.all()
        old, new = np.asarray(start.alphas[name]), np.asarray(state.alphas[name])
        np.testing.assert_array_equal(new[~live], old[~live])
        assert (new[live] != old[live]).all()
        np.testing.assert_array_equal(np.asarray(again.alphas[name])[live], new[live])


def test_probabilities_and_genotype_know_the_mask(
    darts: OneShotSearch, start: SearchState
) -> None:
    # Pruned alphas are the largest, and are not chosen.
    alphas = {
        k: jnp.where(live, jnp.array([0.0, 1.0, 2.0]), 50.0)
        for k, live in PRUNED.arrays().items()
    }
    state = start._replace(alphas=alphas)
    e = np.exp([0.0, 1.0, 2.0])
    by_hand = {
        "normal": [[0, e[1], e[2]], [e[0], e[1], 0]],
        "reduce": [[e[0], e[1], 0], [e[0], 0, e[2]]],
    }
    for name, probabilities in darts.probabilities(state).items():
        rows = np.array(by_hand[name])
        expected = rows / rows.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
        np.testing.assert_array_equal(probabilities == 0, rows == 0)
    genes = {cell.name: set(cell.genes) for cell in darts.genotype(state).cells}
    assert genes == {
        "normal": {("sep_conv_3x3", 0), ("skip_connect", 1)},
        "reduce": {("skip_connect", 0), ("sep_conv_3x3", 1)},
    }


def test_init_depends_on_the_key_alone(darts: OneShotSearch) -> None:
    first, again, other = (darts.init(jax.random.key(k), (8, 8, 1)) for k in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.alphas["normal"], other.alphas["normal"])
    assert int(first.step) == 0
    # DARTS' start: close to equal.
    assert all(np.abs(a).max() < 0.01 for a in first.alphas.values())


def test_any_optax_transformation_will_do() -> None:
    # Weights that stand still, and alphas that move by the sign of their gradient.
    signs = optax.stateless(
        lambda gradient, params: jax.tree.map(lambda g: -0.25 * jnp.sign(g), gradient)
    )
    network = Supernet(SpaceMask.full(SPACE), 2, 1, 2)
    darts = OneShotSearch(network, optax.set_to_zero(), signs)
    before = darts.init(jax.random.key(0), (8, 8, 1))
    after, _ = jax.jit(darts.step)(before, TRAIN, VALID, KEY)
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    moved = np.abs(np.asarray(after.alphas["reduce"] - before.alphas["reduce"]))
    np.testing.assert_allclose(moved, 0.25, rtol=1e-5)
    # A network of one layer has no normal cell.
    np.testing.assert_array_equal(before.alphas["normal"], after.alphas["normal"])


def test_microbatches_average_the_gradients_of_their_parts(start: SearchState) -> None:
    """Each part is normalised by its own statistics, and all count the same."""
    network = Supernet(PRUNED, 2, 3, 2)
    optimisers = optax.sgd(WEIGHT_RATE), optax.sgd(ALPHA_RATE)
    darts = OneShotSearch(network, *optimisers, microbatches=2)
    after, metrics = jax.jit(darts.step)(start, TRAIN, VALID, KEY)
    gradient = jax.jit(jax.grad(loss, 1))
    halves = [jax.tree.map(lambda x, i=i: x[2 * i : 2 * i + 2], VALID) for i in (0, 1)]
    parts = [gradient(start.params, start.alphas, half) for half in halves]
    for name, alpha in start.alphas.items():
        mean = (parts[0][name] + parts[1][name]) / 2
        np.testing.assert_allclose(
            after.alphas[name], alpha - ALPHA_RATE * mean, rtol=1e-4, atol=1e-6
        )
    values = [loss(start.params, start.alphas, half) for half in halves]
    assert float(metrics["valid_loss"]) == pytest.approx(
        float(sum(values)) / 2, rel=1e-5
    )


def test_microbatches_without_batch_statistics_change_nothing(
    start: SearchState,
) -> None:
    network = Supernet(PRUNED, 2, 3, 2, norm="running")
    optimisers = optax.sgd(WEIGHT_RATE), optax.sgd(ALPHA_RATE)
    results = [
        jax.jit(OneShotSearch(network, *optimisers, microbatches=count).step)(
            start, TRAIN, VALID
        )
        for count in (1, 4)
    ]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results
    )
    moved = jnp.abs(results[0][0].alphas["normal"] - start.alphas["normal"])
    assert float(moved.max()) > 1e-5


@pytest.mark.parametrize("microbatches", [3, 8])
def test_microbatches_that_do_not_divide_the_batch(
    start: SearchState, microbatches: int
) -> None:
    network = Supernet(PRUNED, 2, 3, 2)
    optimisers = optax.sgd(WEIGHT_RATE), optax.sgd(ALPHA_RATE)
    darts = OneShotSearch(network, *optimisers, microbatches=microbatches)
    said = f"{microbatches} microbatches do not divide a batch of 4; give a number"
    with pytest.raises(ConfigError, match=said):
        jax.eval_shape(darts.step, start, TRAIN, VALID, KEY)
