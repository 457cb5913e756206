"""The images of a config, and batches that are larger than what there is."""

from __future__ import annotations

import pytest

from nas_jax.cli.images import check_batches, load_images
from nas_jax.config import DataConfig
from nas_jax.errors import ConfigError


def test_a_config_names_its_images() -> None:
    config = DataConfig(
        source="synthetic",
        image_size=6,
        num_train=20,
        num_test=7,
        num_classes=3,
        channels=2,
        crop_padding=1,
        flip=True,
        cutout=2,
    )
    images = load_images(config)
    assert images.x_train.shape == (20, 6, 6, 2)
    assert images.x_test.shape == (7, 6, 6, 2)
    assert images.num_classes == 3
    other = load_images(DataConfig(**{**vars(config), "seed": 1}))
    assert (other.x_train != images.x_train).any()


def test_a_batch_larger_than_the_smaller_half() -> None:
    check_batches({"search": 5}, 10, 0.5)
    said = "search.batch_size is 6, .* 5 of the 10 training images; pass --batch=5 or"
    with pytest.raises(ConfigError, match=said):
        check_batches({"search": 6}, 10, 0.5, flag="--batch")
    with pytest.raises(ConfigError, match="2 of the 10 .*--config.search.batch_size=2"):
        check_batches({"search": 3}, 10, 0.8)


def test_other_stages_draw_from_all_images() -> None:
    check_batches({"prune": 10, "retrain": 10}, 10, 0.8)
    with pytest.raises(ConfigError, match="retrain draws batches from 10 of the 10"):
        check_batches({"prune": 10, "retrain": 11}, 10, 0.8)
