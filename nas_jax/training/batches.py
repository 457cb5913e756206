"""Batches from images that stay on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

Augment = Callable[[jax.Array, jax.Array], jax.Array]
"""From a PRNG key and images `[B, H, W, C]` uint8 to float32 network inputs."""


@dataclasses.dataclass(frozen=True)
class DeviceImages:
    """A data set on the device: gathered by index and augmented inside the step.

    Attributes:
        images: `[N, H, W, C]` uint8 (or already float32).
        labels: `[N]` int32.
    """

    images: jax.Array
    labels: jax.Array

    @classmethod
    def put(cls, images: np.ndarray, labels: np.ndarray) -> DeviceImages:
        """Copy arrays to the device."""
        return cls(jnp.asarray(images), jnp.asarray(labels, jnp.int32))

    def batch(
        self, index: jax.Array, key: jax.Array, augment: Augment
    ) -> tuple[jax.Array, jax.Array]:
        """Augmented images and labels of the examples `[B]`."""
        return augment(key, self.images[index]), self.labels[index]


jax.tree_util.register_dataclass(
    DeviceImages, data_fields=["images", "labels"], meta_fields=[]
)
