"""The images of a config: how they are loaded, and how many a batch may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nas_jax import data
from nas_jax.config import DataConfig
from nas_jax.errors import ConfigError

_AUGMENTATION = ("crop_padding", "flip", "cutout")


def load_images(config: DataConfig) -> data.Dataset:
    """The images that a config names.

    Raises:
        DataError: They cannot be loaded; see `data.load`.
    """
    options = dataclasses.asdict(config)
    for name in _AUGMENTATION:
        options.pop(name)
    return data.load(options.pop("source"), **options)


def check_batches(
    sizes: Mapping[str, int],
    num_train: int,
    train_fraction: float,
    flag: str = "--config.{stage}.batch_size",
) -> None:
    """Refuses a batch larger than what its stage draws from.

    The search draws from either half of the training images, the other stages from all.

    Args:
        sizes: Images in a batch by stage: prune, search or retrain.
        num_train: Number of training images.
        train_fraction: Share of them that trains the weights of a search.
        flag: What the user would change; `{stage}` stands for the stage.

    Raises:
        ConfigError: A batch is too large.
    """
    # The seed says which images go where, not how many.
    halves = data.bilevel_split(num_train, train_fraction, seed=0)
    for stage, size in sizes.items():
        images = min(map(len, halves)) if stage == "search" else num_train
        if size > images:
            raise ConfigError(
                f"{stage}.batch_size is {size}, but {stage} draws batches from "
                f"{images} of the {num_train} training images; pass "
                f"{flag.format(stage=stage)}={images} or less, or give more images"
            )
