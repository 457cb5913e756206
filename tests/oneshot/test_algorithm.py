"""One bilevel step against a second computation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import init_alphas
from nas_jax.oneshot import OneShotSearch, Relaxation, SearchState, deterministic
from tests.oneshot.toy import PRUNED, Toy

NETWORK = Toy()
SHAPE = (4, 4, 3)
WEIGHT_RATE, ALPHA_RATE = 0.1, 0.7
OPTIMISERS = optax.sgd(WEIGHT_RATE), optax.sgd(ALPHA_RATE)
KEY = jax.random.key(7)
RNG = np.random.default_rng(0)
TRAIN, VALID = (
    (jnp.asarray(RNG.normal(size=(4, *SHAPE)), jnp.float32), jnp.array(labels))
    for labels in ([0, 1, 1, 0], [1, 1, 0, 0])
)


@pytest.fixture(scope="module")
def darts() -> OneShotSearch:
    return OneShotSearch(NETWORK, *OPTIMISERS)


@pytest.fixture(scope="module")
def step(darts: OneShotSearch) -> Any:
    return jax.jit(darts.step)


@pytest.fixture(scope="module")
def start(darts: OneShotSearch) -> SearchState:
    """Fresh weights and alphas that differ."""
    state = darts.init(jax.random.key(0), SHAPE)
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
    logits = NETWORK.apply({"params": params}, batch[0], weights)
    right = jnp.sum(logits * jnp.eye(2)[batch[1]], axis=1)
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(logits), axis=1)) - right)


gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def assert_close(a: Any, b: Any, **tolerance: float) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def test_alphas_move_first_then_weights_at_the_new_alphas(
    darts: OneShotSearch, step: Any, start: SearchState
) -> None:
    valid_loss, (_, alpha_gradient) = gradients(start.params, start.alphas, VALID)
    alphas = {k: a - ALPHA_RATE * alpha_gradient[k] for k, a in start.alphas.items()}
    train_loss, (gradient, _) = gradients(start.params, alphas, TRAIN)
    params = jax.tree.map(lambda w, g: w - WEIGHT_RATE * g, start.params, gradient)
    # The order shows: the old alphas give the weights another gradient.
    _, (old, _) = gradients(start.params, start.alphas, TRAIN)
    assert not np.allclose(gradient["last"], old["last"], rtol=1e-3, atol=1e-5)

    state, metrics = step(start, TRAIN, VALID, KEY)
    assert_close(state.alphas, alphas, rtol=1e-4, atol=1e-5)
    assert_close(state.params, params, rtol=1e-3, atol=1e-5)
    assert metrics["valid_loss"] == pytest.approx(float(valid_loss), rel=1e-5)
    assert metrics["train_loss"] == pytest.approx(float(train_loss), rel=1e-5)
    assert int(state.step) == 1
    found, accuracy = jax.jit(darts.loss)(start, VALID, KEY)
    assert float(found) == pytest.approx(float(valid_loss), rel=1e-5)
    assert accuracy == metrics["valid_accuracy"]


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
    first, again, other = (darts.init(jax.random.key(k), SHAPE) for k in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first.alphas["normal"], other.alphas["normal"])
    assert int(first.step) == 0
    # DARTS' start: close to equal.
    assert all(np.abs(a).max() < 0.01 for a in first.alphas.values())


def test_microbatches_average_the_gradients_of_their_parts(start: SearchState) -> None:
    """Each part is normalised by its own statistics, and all count the same."""
    darts = OneShotSearch(NETWORK, *OPTIMISERS, microbatches=2)
    after, metrics = jax.jit(darts.step)(start, TRAIN, VALID, KEY)
    halves = [jax.tree.map(lambda x, i=i: x[2 * i : 2 * i + 2], VALID) for i in (0, 1)]
    values, parts = zip(
        *(gradients(start.params, start.alphas, half) for half in halves), strict=True
    )
    for name, alpha in start.alphas.items():
        mean = (parts[0][1][name] + parts[1][1][name]) / 2
        np.testing.assert_allclose(
            after.alphas[name], alpha - ALPHA_RATE * mean, rtol=1e-4, atol=1e-6
        )
    mean = float(sum(values)) / 2
    assert float(metrics["valid_loss"]) == pytest.approx(mean, rel=1e-5)

    darts = OneShotSearch(NETWORK, *OPTIMISERS, microbatches=3)
    with pytest.raises(ConfigError, match="3 microbatches do not divide a batch of 4"):
        darts.step(start, TRAIN, VALID, KEY)


def test_a_relaxation_may_draw_and_may_have_parameters_of_any_form() -> None:
    """A random operation on each edge, and edge strengths beside the alphas."""
    live = PRUNED.arrays()

    def init(space: Any, key: jax.Array) -> Any:
        return {"ops": init_alphas(space, key), "edges": jnp.ones(2)}

    def sample(alphas: Any, live: Any, key: Any, step: Any) -> Any:
        return {
            name: jax.nn.one_hot(
                jax.random.categorical(key, jnp.where(kept, 0.0, -jnp.inf)), 3
            )
            * alphas["edges"][:, None]
            for name, kept in live.items()
        }

    def expected(alphas: Any, live: Any) -> Any:
        return {name: kept / kept.sum(1, keepdims=True) for name, kept in live.items()}

    relaxation = Relaxation(init, sample, expected)
    search = OneShotSearch(NETWORK, *OPTIMISERS, relaxation=relaxation)
    state = search.init(jax.random.key(0), SHAPE)
    step = jax.jit(search.step)
    keys = [jax.random.key(i) for i in (0, 0, 1, 2, 3)]
    losses = [float(step(state, TRAIN, VALID, key)[1]["valid_loss"]) for key in keys]
    assert losses[0] == losses[1]
    assert len(set(losses)) > 2
    after, _ = step(state, TRAIN, VALID, KEY)
    assert (after.alphas["edges"] != state.alphas["edges"]).any()
    assert search.probabilities(after).keys() == live.keys()


def test_parts_that_do_not_fit_are_refused_at_once() -> None:
    def sigmoid(alphas: Any, live: Any) -> Any:
        return {name: jax.nn.sigmoid(a) * live[name] for name, a in alphas.items()}

    relaxation = deterministic(init_alphas, sigmoid)
    with pytest.raises(ConfigError, match="do not fit.* have the sum 1"):
        OneShotSearch(NETWORK, *OPTIMISERS, relaxation=relaxation)
    # A selection that takes them makes a search of them.
    OneShotSearch(NETWORK, *OPTIMISERS, relaxation=relaxation, select=lambda *_: None)
