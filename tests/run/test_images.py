"""The images of a config, and batches that are larger than what there is."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from nas_jax.config import DataConfig
from nas_jax.data import Dataset
from nas_jax.errors import ConfigError
from nas_jax.proxies import get_proxy
from nas_jax.run.images import (
    check_batches,
    check_copies,
    load_images,
    scored_images,
)


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


def with_copies() -> Dataset:
    """Ten training images, of which four are different."""
    numbers = np.array([0, 1, 1, 2, 0, 2, 2, 3, 3, 3], np.uint8)
    images, labels = numbers.reshape(-1, 1, 1, 1), numbers % 2
    return Dataset.from_arrays(images, labels, images, labels)


def test_scores_that_compare_images_draw_from_different_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "absl")
    images = with_copies()
    snip, nwot = get_proxy("snip"), get_proxy("nwot")
    np.testing.assert_array_equal(scored_images(images, [snip]), np.arange(10))
    np.testing.assert_array_equal(scored_images(images, []), np.arange(10))
    assert not caplog.records
    np.testing.assert_array_equal(scored_images(images, [snip, nwot]), [0, 1, 3, 7])
    (record,) = caplog.records
    assert record.getMessage() == (
        "6 of 10 training images are copies of others: scores draw from the 4 "
        "different ones"
    )


def test_images_without_copies_are_all_drawn_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = load_images(DataConfig(source="synthetic", num_train=30))
    chosen = scored_images(images, [get_proxy("nwot")])
    np.testing.assert_array_equal(chosen, np.arange(30))
    assert not caplog.records


def test_a_batch_with_more_images_than_there_are_different_ones() -> None:
    flags = "--batch", "--proxies"
    images, snip, jacov = with_copies(), get_proxy("snip"), get_proxy("jacov")
    check_copies(4, images, [snip, jacov], *flags)
    check_copies(5, images, [snip], *flags)
    said = (
        "--batch is 5, but only 4 of the 10 training images differ from each other, "
        "and jacov can have no copies.*pass --batch=4 or less.*score by --proxies that "
        "take copies: fisher, .*snip, synflow, zen"
    )
    with pytest.raises(ConfigError, match=said):
        check_copies(5, images, [snip, jacov], *flags)
