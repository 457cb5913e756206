"""Batches from images that stay on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.data.labels import check_labels
from nas_jax.errors import DataError

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
        """Copies images `[N, H, W, C]`, uint8 or finite floats, and labels `[N]`.

        Raises:
            DataError: They are something else, such as one-hot labels.
        """
        images = np.asarray(images)
        if images.ndim != 4 or not images.size:
            raise DataError(
                f"images have shape {images.shape}; give a stack of some, [N, H, W, C]"
            )
        floats = jnp.issubdtype(images.dtype, jnp.floating)
        if images.dtype != np.uint8 and not floats:
            raise DataError(
                f"images have dtype {images.dtype}; give uint8, values 0 to 255, or "
                "floats that are normalised"
            )
        if floats and not np.isfinite(images).all():
            raise DataError("images hold NaN or infinite values; mend or remove them")
        labels = check_labels(labels, "the array of labels", len(images), "the stack")
        if labels.max() > np.iinfo(np.int32).max:
            raise DataError(
                f"the array of labels holds {labels.max()}; labels are class numbers"
            )
        return cls(jnp.asarray(images), jnp.asarray(labels, jnp.int32))

    def batch(
        self, index: jax.Array, key: jax.Array, augment: Augment
    ) -> tuple[jax.Array, jax.Array]:
        """Augmented images and labels of the examples `[B]`."""
        return augment(key, self.images[index]), self.labels[index]


jax.tree_util.register_dataclass(
    DeviceImages, data_fields=["images", "labels"], meta_fields=[]
)
