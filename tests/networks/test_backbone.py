from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from nas_jax.errors import ConfigError
from nas_jax.networks import Supernet, check_image, reduction_layers, zero_alphas
from nas_jax.networks.backbone import Classifier, places
from nas_jax.spaces import SpaceMask, darts_space


@pytest.mark.parametrize(
    ("layers", "expected"), [(3, (1, 2)), (8, (2, 5)), (20, (6, 13)), (1, (0,))]
)
def test_reduction_layers(layers: int, expected: tuple[int, ...]) -> None:
    assert reduction_layers(layers) == expected


def test_places_of_eight_layers() -> None:
    cells = places(16, 8)
    assert [c.channels for c in cells] == [16, 16, 32, 32, 32, 64, 64, 64]
    assert [i for i, c in enumerate(cells) if c.name == "reduce"] == [2, 5]
    assert [i for i, c in enumerate(cells) if c.reduction] == [2, 5]
    assert [i for i, c in enumerate(cells) if c.reduce_first] == [3, 6]


@pytest.mark.parametrize(
    ("height", "width", "layers"), [(8, 8, 8), (8, 12, 3), (32, 32, 20), (4, 4, 1)]
)
def test_images_that_fit(height: int, width: int, layers: int) -> None:
    check_image(height, width, layers)


@pytest.mark.parametrize(
    ("height", "width", "nearest"),
    [
        (30, 30, "32x32"),
        (8, 10, "8x8"),
        (4, 4, "8x8"),
        (0, 0, "8x8"),
        (33, 32, "32x32"),
    ],
)
def test_images_that_do_not_fit(height: int, width: int, nearest: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_image(height, width, 8)
    message = str(error.value)
    assert f"image size {height}x{width} does not fit 8 layers" in message
    assert "multiples of 4, at least 8" in message
    assert message.endswith(f"to {nearest}")
    size = int(nearest.split("x")[0])
    check_image(size, size, 8)


def test_networks_check_the_image() -> None:
    space = darts_space(2)
    network = Supernet(SpaceMask.full(space), 2, 3, 2)
    images = jnp.zeros((1, 6, 6, 1))
    with pytest.raises(ConfigError, match="image size 6x6 does not fit 3 layers"):
        jax.eval_shape(network.init, jax.random.key(0), images, zero_alphas(space))


def test_classifier_by_hand() -> None:
    x = jnp.asarray([1.0, 3.0, 2.0, 4.0]).reshape(1, 1, 2, 2)
    params = {"kernel": jnp.asarray([[1.0, 0.5], [0.0, 2.0]]), "bias": jnp.ones(2)}
    # Pooled features: (1.5, 3.5).
    logits, sown = Classifier(2).apply({"params": params}, x, mutable=["features"])
    assert logits.tolist() == [[2.5, 8.75]]
    assert sown["features"]["pooled"][0].tolist() == [[1.5, 3.5]]
