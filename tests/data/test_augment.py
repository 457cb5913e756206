from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.data import augment, cutout, normalize, random_crop, random_flip
from nas_jax.errors import DataError

MEAN, STD = (0.5, 0.25), (0.5, 0.25)


@pytest.fixture(autouse=True)
def no_rank_promotion() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def images() -> np.ndarray:
    """uint8 `[16, 6, 5, 2]`, no zeros, so that padding and holes can be told apart."""
    return np.random.default_rng(0).integers(1, 256, (16, 6, 5, 2), np.uint8)


def test_normalize_by_hand() -> None:
    # Channel 0: (0/255 - .5) / .5 = -1 and (255/255 - .5) / .5 = 1.
    # Channel 1: (51/255 - .25) / .25 = -.2 and (102/255 - .25) / .25 = .6.
    pixels = np.array([[[[0, 51], [255, 102]]]], np.uint8)
    result = normalize(pixels, MEAN, STD)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(
        result, [[[[-1.0, -0.2], [1.0, 0.6]]]], rtol=1e-6, atol=1e-7
    )


def test_every_crop_is_a_window_of_the_padded_image(
    key: jax.Array, images: np.ndarray
) -> None:
    padding, (_, height, width, _) = 2, images.shape
    batch = np.tile(images, (20, 1, 1, 1))
    crops = np.asarray(random_crop(key, batch, padding))
    assert crops.dtype == np.uint8 and crops.shape == batch.shape
    padded = np.pad(batch, ((0, 0), (2, 2), (2, 2), (0, 0)))
    corners = []
    for image, crop in zip(padded, crops, strict=True):
        fits = [
            (row, column)
            for row in range(2 * padding + 1)
            for column in range(2 * padding + 1)
            if (image[row : row + height, column : column + width] == crop).all()
        ]
        assert len(fits) == 1
        corners += fits
    # 320 draws of 25 places leave one out with probability 25 * (24/25)**320 = 5e-5.
    assert len(set(corners)) == 25


def test_flip_mirrors_half_of_the_images_and_keeps_their_content(
    key: jax.Array, images: np.ndarray
) -> None:
    batch = np.tile(images, (20, 1, 1, 1))
    flipped = np.asarray(random_flip(key, batch))
    assert flipped.dtype == np.uint8
    is_same = (flipped == batch).all(axis=(1, 2, 3))
    is_mirrored = (flipped == batch[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (is_same ^ is_mirrored).all()
    # 320 fair coins: 160 with a deviation of 9, so 115 to 205 is five of them.
    assert 115 < is_mirrored.sum() < 205


@pytest.mark.parametrize(
    ("height", "width", "length"), [(6, 5, 1), (6, 5, 3), (5, 5, 4), (6, 5, 30)]
)
def test_cutout_is_one_square_around_a_pixel(
    key: jax.Array, height: int, width: int, length: int
) -> None:
    batch = np.ones((300, height, width, 2), np.float32)
    result = np.asarray(cutout(key, batch, length))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[..., 0], result[..., 1])
    allowed = set()
    for row in range(height):
        for column in range(width):
            hole = np.ones((height, width), np.float32)
            top, left = row - length // 2, column - length // 2
            hole[
                max(top, 0) : max(top + length, 0),
                max(left, 0) : max(left + length, 0),
            ] = 0
            allowed.add(hole.tobytes())
    found = {image.tobytes() for image in result[..., 0]}
    assert found <= allowed
    # 300 draws of 30 centres leave one out with probability 30 * (29/30)**300 = .001;
    # the key is fixed, so this holds always or never.
    assert found == allowed


def test_without_options_augment_only_normalizes(
    key: jax.Array, images: np.ndarray
) -> None:
    np.testing.assert_array_equal(
        augment(key, images, mean=MEAN, std=STD), normalize(images, MEAN, STD)
    )


def test_augment_gives_each_part_a_key_of_its_own(
    key: jax.Array, images: np.ndarray
) -> None:
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    moved = random_flip(flip_key, random_crop(crop_key, images, 2))
    expected = cutout(cutout_key, normalize(moved, MEAN, STD), 2)
    result = augment(
        key, images, mean=MEAN, std=STD, crop_padding=2, flip=True, cutout_length=2
    )
    np.testing.assert_array_equal(result, expected)


def test_augment_under_jit_compiles_once_and_agrees(
    key: jax.Array, images: np.ndarray
) -> None:
    traces = []
    pipeline = functools.partial(
        augment, mean=MEAN, std=STD, crop_padding=2, flip=True, cutout_length=2
    )

    @jax.jit
    def step(step_key: jax.Array, batch: jax.Array) -> jax.Array:
        traces.append(1)
        return pipeline(step_key, batch)

    for number in range(3):
        step_key = jax.random.fold_in(key, number)
        np.testing.assert_allclose(
            step(step_key, images),
            pipeline(step_key, images),
            rtol=1e-6,
            atol=1e-6,
        )
    assert len(traces) == 1


BAD_CALLS: dict[str, tuple[Callable[[jax.Array, np.ndarray], object], str]] = {
    "float images": (
        lambda key, x: normalize(x.astype(np.float32), MEAN, STD),
        "dtype float32; they must be uint8",
    ),
    "one image": (
        lambda key, x: augment(key, x[0], mean=MEAN, std=STD),
        r"shape \(6, 5, 2\).*\[B, H, W, C\].*images\[None\]",
    ),
    "one image to flip": (lambda key, x: random_flip(key, x[0]), "needs a batch"),
    "another number of means": (
        lambda key, x: normalize(x, (0.5,), STD),
        r"mean has shape \(1,\); images with 2 channels need 2 values",
    ),
    "another number of deviations": (
        lambda key, x: normalize(x, MEAN, (1.0, 1.0, 1.0)),
        r"std has shape \(3,\); images with 2 channels need 2 values",
    ),
    "negative padding": (
        lambda key, x: augment(key, x, mean=MEAN, std=STD, crop_padding=-1),
        "crop_padding=-1.*at least 0",
    ),
    "negative cutout": (
        lambda key, x: augment(key, x, mean=MEAN, std=STD, cutout_length=-2),
        "cutout_length=-2.*at least 0",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_wrong_calls_are_refused(
    key: jax.Array,
    images: np.ndarray,
    call: Callable[[jax.Array, np.ndarray], object],
    message: str,
) -> None:
    with pytest.raises(DataError, match=message):
        call(key, images)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([125.3], [0.2], r"mean is \[125.3\]; it must lie in \[0, 1\].* by 255"),
        ([-0.1], [0.2], "mean is"),
        ([0.5], [63.0], r"std is \[63.0\]; it must lie in \[0, 1\].*, and above 0"),
        ([0.5], [0.0], r"std is \[0.0\]"),
        ([np.nan], [0.2], "mean is"),
    ],
)
def test_statistics_in_other_units(
    mean: list[float], std: list[float], message: str
) -> None:
    images = np.zeros((1, 2, 2, 1), np.uint8)
    with pytest.raises(DataError, match=message):
        normalize(images, mean, std)
    with pytest.raises(DataError, match=message):
        jax.jit(lambda x: normalize(x, mean, np.array(std)))(images)


def test_traced_statistics_are_not_looked_at() -> None:
    images = np.full((1, 2, 2, 1), 255, np.uint8)
    scaled = jax.jit(normalize)(images, jnp.array([3.0]), jnp.array([2.0]))
    np.testing.assert_array_equal(scaled, -1)
    listed = jax.jit(lambda m: normalize(images, [m], (2 * m - 1,)))(2.0)
    np.testing.assert_allclose(listed, -1 / 3, rtol=1e-6)
