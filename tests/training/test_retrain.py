from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nas_jax.errors import DataError
from nas_jax.networks import DerivedNetwork
from nas_jax.spaces import Genotype, darts_space
from nas_jax.training import DeviceImages, Trainer, TrainResult, retrain

SPACE = darts_space(1, ("none", "skip_connect", "sep_conv_3x3"))
GENOTYPE = Genotype.parse(
    SPACE,
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], "
    "normal_concat=range(2, 3), reduce=[('skip_connect', 0), ('sep_conv_3x3', 1)], "
    "reduce_concat=range(2, 3))",
)


def as_it_is(key: jax.Array, images: jax.Array) -> jax.Array:
    return images


def with_noise(key: jax.Array, images: jax.Array) -> jax.Array:
    return images + 0.1 * jax.random.normal(key, images.shape)


def striped(count: int, seed: int) -> DeviceImages:
    """Two classes: horizontal or vertical stripes, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    stripes = np.tile([[1.0], [-1.0]], (4, 8))
    images = np.where(labels[:, None, None], stripes, stripes.T)
    images = images + 0.3 * rng.normal(size=images.shape)
    return DeviceImages.put(images[..., None].astype(np.float32), labels)


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    network = DerivedNetwork(GENOTYPE, 2, 1, 2)
    optimiser = optax.sgd(0.05, momentum=0.9)
    return Trainer(network, optimiser, with_noise, as_it_is, (8, 8, 1))


Saved = dict[int, tuple[Any, float, float]]


@pytest.fixture(scope="module")
def run(trainer: Trainer) -> tuple[TrainResult, Saved, list[float]]:
    """Four epochs, what each of them ended with, and the losses of all steps."""
    saved: Saved = {}
    losses: list[float] = []
    # By step: a run may also stop inside an epoch.
    middle = 7

    def on_epoch(epoch: int, state: Any, loss: float, accuracy: float) -> None:
        # A copy, as the next step takes the state's memory.
        saved[epoch] = (jax.tree.map(np.array, state), loss, accuracy)

    def on_step(step: int, metrics: Any, state: Any) -> None:
        assert step == len(losses) + 1 == int(state.step)
        if step == middle:
            saved[-middle] = (jax.tree.map(np.array, state), 0.0, 0.0)
        losses.append(float(metrics["train_loss"]))

    train = functools.partial(retrain, trainer, striped(40, 0), striped(14, 1))
    result = train(epochs=4, batch_size=8, seed=3, on_step=on_step, on_epoch=on_epoch)
    return result, saved, losses


def assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_it_learns(run: tuple[TrainResult, Saved, list[float]]) -> None:
    result, saved, losses = run
    assert len(losses) == 4 * 5
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert result.test_accuracy > 0.9
    assert sorted(saved) == [-7, 1, 2, 3, 4]
    assert saved[4][1:] == (result.test_loss, result.test_accuracy)
    assert int(result.state.step) == 20
    assert result.parameters == sum(
        leaf.size for leaf in jax.tree.leaves(result.state.params)
    )


@pytest.mark.parametrize("count", [3, 8, 13])
def test_each_test_image_counts_once(
    trainer: Trainer, run: tuple[TrainResult, Saved, list[float]], count: int
) -> None:
    # Noise labels, so that the right answers are neither all nor none.
    labels = np.random.default_rng(count).integers(0, 2, count)
    data = DeviceImages.put(np.asarray(striped(count, 5).images), labels)
    state = run[0].state
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    forward = jax.jit(functools.partial(trainer.network.apply, train=False))
    logits = np.concatenate(
        [np.asarray(forward(variables, data.images[i : i + 1])) for i in range(count)]
    ).astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(count), labels]
    loss, accuracy = trainer.test(state, data, 8)
    assert accuracy == np.sum(logits.argmax(1) == labels) / count
    assert loss == pytest.approx(losses.mean(), rel=1e-4)


def test_the_test_shape_is_compiled_once(
    trainer: Trainer, run: tuple[TrainResult, Saved, list[float]]
) -> None:
    # The full batch and the one that is filled up, of one data set.
    trainer.test(run[0].state, striped(14, 1), 8)
    before = trainer._test._cache_size()
    trainer.test(run[0].state, striped(14, 2), 8)
    assert trainer._test._cache_size() == before
    assert trainer.step._cache_size() == 1


def test_the_same_seed_gives_the_same_bits(
    trainer: Trainer, run: tuple[TrainResult, Saved, list[float]]
) -> None:
    train = functools.partial(retrain, trainer, striped(40, 0), striped(14, 1))
    result = train(epochs=1, batch_size=8, seed=3)
    assert_same(result.state, run[1][1][0])
    other = train(epochs=1, batch_size=8, seed=4)
    kernel = lambda state: np.asarray(state.params["classifier"]["kernel"])  # noqa: E731
    assert not np.array_equal(kernel(other.state), kernel(result.state))


# After two epochs of five steps, and after the seventh step (see `run`).
@pytest.mark.parametrize(("place", "step"), [(2, 10), (-7, 7)])
def test_resuming_gives_the_same_bits(
    trainer: Trainer,
    run: tuple[TrainResult, Saved, list[float]],
    place: int,
    step: int,
) -> None:
    result, saved, losses = run
    again: list[tuple[int, float]] = []
    resumed = retrain(
        trainer,
        striped(40, 0),
        striped(14, 1),
        epochs=4,
        batch_size=8,
        seed=3,
        state=jax.tree.map(jnp.array, saved[place][0]),
        on_step=lambda step, metrics, _: again.append(
            (step, float(metrics["train_loss"]))
        ),
    )
    assert_same(resumed.state, result.state)
    assert again == list(enumerate(losses, 1))[step:]
    assert (resumed.test_loss, resumed.test_accuracy) == saved[4][1:]


def test_a_finished_run_is_only_tested(
    trainer: Trainer, run: tuple[TrainResult, Saved, list[float]]
) -> None:
    result, saved, _ = run

    def fail(*_: Any) -> None:
        raise AssertionError("no step is left")

    state = jax.tree.map(jnp.array, saved[4][0])
    again = retrain(
        trainer,
        striped(40, 0),
        striped(14, 1),
        epochs=4,
        batch_size=8,
        seed=3,
        state=state,
        on_step=fail,
        on_epoch=fail,
    )
    assert (again.test_loss, again.test_accuracy) == saved[4][1:]
    assert_same(again.state, result.state)


def test_batches_are_gathered_by_index() -> None:
    data = DeviceImages.put(
        np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1), np.arange(4)
    )
    images, labels = data.batch(jnp.array([2, 0]), jax.random.key(0), as_it_is)
    assert images.ravel().tolist() == labels.tolist() == [2, 0]
    assert images.dtype == jnp.uint8 and labels.dtype == jnp.int32


def test_augmentation_is_fresh_at_every_step(trainer: Trainer) -> None:
    data, index = striped(40, 0), np.arange(8, dtype=np.int32)
    losses = []
    for number in (0, 1, 0):
        state = trainer.init(jax.random.key(0))._replace(
            step=jnp.array(number, jnp.int32)
        )
        _, metrics = trainer.step(state, data, index, jax.random.key(1))
        losses.append(float(metrics["train_loss"]))
    assert losses[0] == losses[2] != losses[1]


IMAGES = np.zeros((4, 2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            IMAGES,
            np.array([0.0, 1.0, 0.6, 1.9]),
            "dtype float64. Labels must be integers",
        ),
        (
            IMAGES,
            np.eye(4, dtype=int),
            r"shape \(4, 4\). Labels must be \[N\], one clas",
        ),
        (IMAGES, np.array([0, 1, 1]), "has 3 labels but the stack has 4 images"),
        (IMAGES, np.array([0, 1, 1, -1]), "negative label -1"),
        (IMAGES, np.array([0, 1, 1, 2**40]), "holds 1099511627776; labels are class"),
        (IMAGES, np.array([True, False] * 2), "dtype bool. Labels must be integers"),
        (IMAGES[0], np.arange(2), r"images have shape \(2, 2, 1\); give a stack"),
        (IMAGES[:0], np.arange(0), r"images have shape \(0, 2, 2, 1\)"),
        (IMAGES.astype(int), np.arange(4), "images have dtype int64; give uint8"),
        (np.full(IMAGES.shape, np.nan), np.arange(4), "images hold NaN or infinite"),
    ],
)
def test_what_is_no_data_set_is_refused(
    images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        DeviceImages.put(images, labels)


def test_labels_in_a_column_are_one_an_image() -> None:
    data = DeviceImages.put(IMAGES, np.arange(4)[:, None])
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_labels_of_more_classes_than_the_network_has(trainer: Trainer) -> None:
    data = striped(8, 0)
    wrong = DeviceImages(data.images, data.labels + trainer.network.num_classes)
    for pair in ((wrong, data), (data, wrong)):
        with pytest.raises(
            DataError, match="labels go from 0 to .*, but the network ha"
        ):
            retrain(trainer, *pair, epochs=1, batch_size=4, seed=0)
