from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.errors import DataError
from nas_jax.memory import MemoryUse
from nas_jax.networks import Remat, Supernet
from nas_jax.oneshot import (
    OneShotSearch,
    SearchResult,
    SearchState,
    abstract_state,
    lower_step,
    search,
)
from nas_jax.spaces import SpaceMask, darts_space
from nas_jax.training import DeviceImages

FULL = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
# One operation is left on every edge.
PRUNED = FULL.drop(
    (cell, edge, op)
    for cell, edge, op in FULL.space.operations()
    if op != "skip_connect"
)
SHAPE = (8, 8, 1)
WEIGHTS, ALPHAS = np.arange(16), np.arange(16, 32)
EPOCHS, STEPS_PER_EPOCH = 6, 4


def with_noise(key: jax.Array, images: jax.Array) -> jax.Array:
    return images + 0.1 * jax.random.normal(key, images.shape)


def algorithm(mask: SpaceMask, remat: Remat = "op") -> OneShotSearch:
    network = Supernet(mask, 2, 1, 2, remat=remat)
    return OneShotSearch(network, optax.sgd(0.1, momentum=0.9), optax.adam(0.01))


@pytest.fixture(scope="module")
def data() -> DeviceImages:
    """Two classes: horizontal or vertical stripes, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    stripes = np.tile([[1.0], [-1.0]], (4, 8))
    images = np.where(labels[:, None, None], stripes, stripes.T)
    images = images + 0.3 * rng.normal(size=images.shape)
    return DeviceImages.put(images[..., None].astype(np.float32), labels)


@pytest.fixture(scope="module")
def compiled(data: DeviceImages) -> Any:
    return lower_step(algorithm(FULL), data, with_noise, 4, SHAPE).compile()


@pytest.fixture(scope="module")
def run(data: DeviceImages, compiled: Any) -> Any:
    return functools.partial(
        search,
        algorithm(FULL),
        data,
        WEIGHTS,
        ALPHAS,
        augment=with_noise,
        image_shape=SHAPE,
        epochs=EPOCHS,
        batch_size=4,
        compiled=compiled,
    )


Whole = tuple[SearchResult, dict[int, Any], list[dict[str, float]]]


@pytest.fixture(scope="module")
def whole(run: Any) -> Whole:
    """A search, its states by step, and its metrics."""
    states: dict[int, Any] = {}
    rows: list[dict[str, float]] = []

    def on_step(step: int, metrics: Any, state: SearchState) -> None:
        # A copy, as the next step takes the state's memory.
        states[step] = jax.tree.map(np.array, state)
        rows.append({name: float(value) for name, value in metrics.items()})

    return run(seed=5, on_step=on_step), states, rows


def assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_loss_goes_down(whole: Whole) -> None:
    result, states, rows = whole
    assert list(states) == list(range(1, EPOCHS * STEPS_PER_EPOCH + 1))
    assert set(rows[0]) == {
        "train_loss",
        "train_accuracy",
        "valid_loss",
        "valid_accuracy",
    }
    for name in ("train_loss", "valid_loss"):
        losses = [row[name] for row in rows]
        assert np.isfinite(losses).all()
        assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert int(result.state.step) == 24
    for name, probabilities in result.probabilities.items():
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
        assert probabilities.shape == result.state.alphas[name].shape
    assert result.genotype == algorithm(FULL).genotype(result.state)
    # DARTS' start: nearly even.
    for probabilities in result.initial.values():
        np.testing.assert_allclose(probabilities, 1 / 3, rtol=5e-3)
    # A supernet of one cell has no normal cell, whose alphas stay.
    assert_same(result.initial["normal"], result.probabilities["normal"])
    assert not np.array_equal(result.initial["reduce"], result.probabilities["reduce"])


def test_the_same_seed_gives_the_same_bits(run: Any, whole: Whole) -> None:
    epochs: list[int] = []
    again = run(seed=5, on_epoch=lambda epoch, state: epochs.append(epoch))
    assert_same(again.state, whole[0].state)
    assert_same(again.probabilities, whole[0].probabilities)
    assert again.genotype == whole[0].genotype
    assert epochs == [1, 2, 3, 4, 5, 6]
    other = run(seed=6)
    assert not np.array_equal(
        other.state.alphas["reduce"], again.state.alphas["reduce"]
    )


# The end of an epoch of four steps, the middle of one, and the end of the search.
@pytest.mark.parametrize("step", [8, 10, 24])
def test_resuming_gives_the_same_bits(run: Any, whole: Whole, step: int) -> None:
    result, states, rows = whole
    losses: list[float] = []
    resumed = run(
        seed=5,
        state=jax.tree.map(jnp.array, states[step]),
        on_step=lambda _, metrics, __: losses.append(float(metrics["train_loss"])),
    )
    assert_same(resumed.state, result.state)
    assert_same(resumed.initial, result.initial)
    assert losses == [row["train_loss"] for row in rows[step:]]


def test_the_state_is_donated(compiled: Any) -> None:
    state = abstract_state(algorithm(FULL), SHAPE)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state))
    donated = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert MemoryUse.of(compiled).alias_bytes >= 0.9 * donated


def test_pruned_operations_take_no_memory(data: DeviceImages) -> None:
    # Where every result is stored; a loop holds one operation's, pruned or not.
    lowered = (
        lower_step(algorithm(mask, "none"), data, with_noise, 4, SHAPE)
        for mask in (FULL, PRUNED)
    )
    full, pruned = (MemoryUse.of(step.compile()) for step in lowered)
    assert pruned.temp_bytes < 0.8 * full.temp_bytes
    assert pruned.argument_bytes < full.argument_bytes


class Recorder:
    """An algorithm that learns nothing and tells which batches it was given."""

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> SearchState:
        return SearchState({}, {}, (), (), jnp.zeros((), jnp.int32))

    def step(self, state: SearchState, train: Any, valid: Any, key: Any) -> Any:
        metrics = {
            "train": train[1],
            "valid": valid[1],
            "train_noise": jnp.mean(train[0]),
            "valid_noise": jnp.mean(valid[0]),
            "drawn": jax.random.uniform(key),
        }
        return state._replace(step=state.step + 1), metrics

    def probabilities(self, state: SearchState) -> dict[str, np.ndarray]:
        return {}

    def genotype(self, state: SearchState) -> None:
        return None


def test_batches_and_augmentation_are_fresh_at_every_step() -> None:
    # The label of an image is its index.
    data = DeviceImages.put(np.zeros((32, *SHAPE), np.float32), np.arange(32))
    rows: list[dict[str, np.ndarray]] = []
    search(
        Recorder(),
        data,
        WEIGHTS,
        ALPHAS,
        augment=with_noise,
        image_shape=SHAPE,
        epochs=2,
        batch_size=4,
        seed=0,
        on_step=lambda _, metrics, __: rows.append(jax.tree.map(np.array, metrics)),
    )
    for name, indices in (("train", WEIGHTS), ("valid", ALPHAS)):
        seen = np.stack([row[name] for row in rows]).reshape(2, -1)
        np.testing.assert_array_equal(np.sort(seen), [indices, indices])
        assert not np.array_equal(seen[0], seen[1])
    noise = [
        float(row[name])
        for row in rows
        for name in ("train_noise", "valid_noise", "drawn")
    ]
    assert len(set(noise)) == 3 * len(rows) == 24


@pytest.mark.parametrize(
    ("weights", "alphas", "message"),
    [
        # The device would take the last image for what is not there.
        (WEIGHTS, ALPHAS + 1, "go from 17 to 32; they must be 0 to 31"),
        (np.arange(32) < 16, ALPHAS, "have dtype bool"),
        (WEIGHTS, np.arange(32) % 2, "repeat; each may come once"),
    ],
)
def test_what_are_no_indices_of_the_data(
    data: DeviceImages, weights: np.ndarray, alphas: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        search(
            algorithm(FULL),
            data,
            weights,
            alphas,
            augment=with_noise,
            image_shape=SHAPE,
            epochs=1,
            batch_size=4,
            seed=0,
        )
