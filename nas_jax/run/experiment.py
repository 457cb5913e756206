"""An experiment that may begin: a checked configuration, its images and its space."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
from absl import logging

from nas_jax import data, training
from nas_jax.artefacts import Data
from nas_jax.config import ExperimentConfig
from nas_jax.networks import check_size
from nas_jax.pruning import SupernetSize
from nas_jax.run.images import check_batches, check_copies, load_images
from nas_jax.run.space import start_mask
from nas_jax.run.strategy import check_budget, get_strategy
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask
from nas_jax.workdir import Workdir

Inputs = Mapping[str, Any]
"""Finished artefacts by the name of their stage."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked configuration with its data, space and workdir.

    Attributes:
        config: The configuration.
        workdir: Where artefacts go.
        dataset: The images.
        space: The search space.
        start: The mask that pruning starts from.
        genotype: What to train, where the user gave it.
    """

    config: ExperimentConfig
    workdir: Workdir
    dataset: data.Dataset
    space: SearchSpace
    start: SpaceMask
    genotype: Genotype | None = None

    @functools.cached_property
    def data_digest(self) -> str:
        """SHA-256 of all images and labels, wherever they lie."""
        return data.content_sha256(self.dataset)

    def data_facts(self) -> Data:
        """Where the images are from and how many there are, for people."""
        config, images = self.config.data, self.dataset
        return Data(
            source=config.source,
            path=config.path,
            name=config.name,
            num_train=images.num_train,
            num_test=images.num_test,
            num_classes=images.num_classes,
            image_shape=images.image_shape,
            sha256=self.data_digest,
        )

    @functools.cached_property
    def train_images(self) -> training.DeviceImages:
        """Training images on the device."""
        return training.DeviceImages.put(self.dataset.x_train, self.dataset.y_train)

    @functools.cached_property
    def augment(self) -> training.Augment:
        """Augmentation of training batches."""
        options = self.config.data
        return functools.partial(
            data.augment,
            mean=self.dataset.mean,
            std=self.dataset.std,
            crop_padding=options.crop_padding,
            flip=options.flip,
            cutout_length=options.cutout,
        )

    def prepare(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """Normalisation alone, for scoring and testing; the key is not used."""
        del key
        return data.normalize(images, self.dataset.mean, self.dataset.std)


def load_data(config: ExperimentConfig) -> tuple[data.Dataset, SearchSpace, SpaceMask]:
    """Load and check what an experiment needs, before anything is written.

    Raises:
        NasJaxError: On bad data, an unknown proxy, a bad mask, images that the networks
            cannot halve, or too few images for a batch.
    """
    start = start_mask(config.space)
    space = start.space
    strategy = get_strategy(config.prune, space)
    check_budget(config.prune)
    dataset = load_images(config.data)
    height, width, _ = dataset.image_shape
    sizes = {"search.layers": config.search.layers}
    sizes["retrain.layers"] = config.retrain.layers
    for ranker in strategy.rankers:
        if isinstance(ranker.build, SupernetSize):
            sizes["prune.layers"] = ranker.build.layers
    for field, layers in sizes.items():
        check_size(space, height, width, layers, field)
    stages = ("prune", "search", "retrain")
    check_batches(
        {name: getattr(config, name).batch_size for name in stages},
        dataset.num_train,
        config.search.train_fraction,
    )
    check_copies(
        config.prune.batch_size,
        dataset,
        [ranker.scored_by for ranker in strategy.rankers],
        "--config.prune.batch_size",
        "--config.prune.proxies",
    )
    for remark in data.remarks(dataset):
        logging.warning("%s", remark)
    return dataset, space, start
