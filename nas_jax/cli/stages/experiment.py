"""An experiment that may begin: a checked configuration, its images and its space."""

from __future__ import annotations

import dataclasses
import functools

import jax

from nas_jax import data, training
from nas_jax.cli.images import check_batches, load_images
from nas_jax.config import (
    ExperimentConfig,
    PruneConfig,
    RetrainConfig,
    SearchConfig,
)
from nas_jax.networks import check_image
from nas_jax.proxies import get_proxy
from nas_jax.spaces import SearchSpace, SpaceMask, get_space
from nas_jax.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked configuration with its data, space and workdir.

    Attributes:
        config: The configuration.
        workdir: Where artefacts go.
        dataset: The images.
        space: The search space.
        start: The mask that pruning starts from.
    """

    config: ExperimentConfig
    workdir: Workdir
    dataset: data.Dataset
    space: SearchSpace
    start: SpaceMask

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
    for name in config.prune.proxies:
        get_proxy(name)
    space = get_space(config.space.name, config.space.num_nodes)
    start = SpaceMask.full(space)
    if config.space.mask:
        start = SpaceMask.load(space, config.space.mask)
    dataset = load_images(config.data)
    height, width, _ = dataset.image_shape
    stages: dict[str, PruneConfig | SearchConfig | RetrainConfig] = {
        "prune": config.prune,
        "search": config.search,
        "retrain": config.retrain,
    }
    for stage in stages.values():
        check_image(height, width, stage.layers)
    check_batches(
        {name: stage.batch_size for name, stage in stages.items()},
        dataset.num_train,
        config.search.train_fraction,
    )
    return dataset, space, start
