"""The images of a config: how they are loaded, and how many a batch may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from absl import logging

from nas_jax import data
from nas_jax.config import DataConfig
from nas_jax.errors import ConfigError
from nas_jax.proxies import Proxy, get_proxy, list_proxies

AUGMENTATION = ("crop_padding", "flip", "cutout")
"""Fields that training reads beside the images."""


def load_images(config: DataConfig) -> data.Dataset:
    """The images that a config names.

    Raises:
        DataError: They cannot be loaded; see `data.load`.
    """
    return data.load(**loading_options(config))


def loading_options(config: DataConfig) -> dict[str, Any]:
    """The arguments of `data.load`: how training augments images is none of them."""
    options = dataclasses.asdict(config)
    return {name: value for name, value in options.items() if name not in AUGMENTATION}


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


def check_copies(
    size: int,
    images: data.Dataset,
    proxies: Iterable[Proxy],
    flag: str,
    proxies_flag: str,
) -> None:
    """Refuses a scored batch larger than the number of different training images.

    Only for proxies that compare images: the others do not mind copies.

    Args:
        size: Images in the batch.
        images: The images.
        proxies: What scores.
        flag: The batch size's flag.
        proxies_flag: The proxies' flag.

    Raises:
        ConfigError: The batch is too large.
    """
    comparing = [proxy.name for proxy in proxies if proxy.compares_images]
    if not comparing or size <= len(images.distinct):
        return
    there = len(images.distinct)
    others = [name for name in list_proxies() if not get_proxy(name).compares_images]
    raise ConfigError(
        f"{flag} is {size}, but only {there} of the {images.num_train} training images "
        "differ from each other, and "
        f"{', '.join(dict.fromkeys(comparing))} can have no copies in a batch; pass "
        f"{flag}={there} or less, give more different images, or score by "
        f"{proxies_flag} that take copies: {', '.join(others)}"
    )


def scored_images(images: data.Dataset, proxies: Iterable[Proxy]) -> np.ndarray:
    """Indices of the training images that scores draw from; says what is left out."""
    if not any(proxy.compares_images for proxy in proxies):
        return np.arange(images.num_train)
    chosen = images.distinct
    if len(chosen) < images.num_train:
        logging.info(
            "%d of %d training images are copies of others: scores draw from the %d "
            "different ones",
            images.num_train - len(chosen),
            images.num_train,
            len(chosen),
        )
    return chosen
