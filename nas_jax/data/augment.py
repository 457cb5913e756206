"""Augmentation on the device, inside the jitted step. Pure functions of a key.

Data stays uint8 on the device; a step gathers a batch and augments it. Sizes, flags
and paddings are static: fix them with `functools.partial` or a closure before `jit`.
Shape legend: B images, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import DataError

Images = jax.Array | np.ndarray
ChannelValues = Sequence[float] | jax.Array | np.ndarray


def augment(
    key: jax.Array,
    images_uint8: Images,
    *,
    mean: ChannelValues,
    std: ChannelValues,
    crop_padding: int = 0,
    flip: bool = False,
    cutout_length: int = 0,
) -> jax.Array:
    """The training pipeline of DARTS: crop, flip, normalise, cutout.

    Code of DARTS (arXiv 1806.09055), cnn/utils.py, `_data_transforms_cifar10`: crop
    padding 4, flip, and cutout 16 when retraining. Each part has a key of its own, so
    that switching one off leaves the others as they were.

    Args:
      images_uint8: uint8 `[B, H, W, C]`.
      mean: C channel means in units of [0, 1]; `std` likewise.
      crop_padding: zeros added on each side before a random crop; 0 is no crop.
      cutout_length: side of the square set to zero after normalising; 0 is none.

    Returns:
      float32 `[B, H, W, C]`.

    Raises:
      DataError: the images are not a uint8 batch or an argument is out of range.
    """
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    images = images_uint8
    if crop_padding:
        images = random_crop(crop_key, images, crop_padding)
    if flip:
        images = random_flip(flip_key, images)
    normalized = normalize(images, mean, std)
    if cutout_length:
        normalized = cutout(cutout_key, normalized, cutout_length)
    return normalized


def normalize(
    images_uint8: Images, mean: ChannelValues, std: ChannelValues
) -> jax.Array:
    """Scales images to [0, 1], then to mean 0 and deviation 1 in each channel.

    Of uint8 `[B, H, W, C]` to float32 (x / 255 - mean) / std, with C values of each.

    Raises:
      DataError: the images are not a uint8 batch, or mean or std has not C values in
        [0, 1]; of traced ones, values are not known.
    """
    _check_batch(images_uint8)
    if images_uint8.dtype != jnp.uint8:
        raise DataError(
            f"images have dtype {images_uint8.dtype}; they must be uint8, values 0 to "
            "255. Do not normalise them twice."
        )
    scaled = jnp.asarray(images_uint8).astype(jnp.float32) / 255.0
    num_channels = images_uint8.shape[-1]
    shift = _channel_values("mean", mean, num_channels)
    scale = _channel_values("std", std, num_channels)
    return (scaled - shift) / scale


def random_crop(key: jax.Array, images: Images, padding: int) -> jax.Array:
    """Pads each image with zeros, then cuts its old size out at a random place.

    Every image `[B, H, W, C]` is moved by -padding to padding pixels in either
    direction, all equally likely. Shape and dtype stay.

    Raises:
      DataError: the images are not a batch or the padding is negative.
    """
    _check_batch(images)
    if padding < 0:
        raise DataError(f"crop_padding={padding}: it must be at least 0.")
    sides = (padding, padding)
    padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)))
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1)

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        start = (corner[0], corner[1], jnp.zeros((), corner.dtype))
        return lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(crop)(padded, corners)


def random_flip(key: jax.Array, images: Images) -> jax.Array:
    """Mirrors each image `[B, H, W, C]` left to right with probability 1/2.

    Raises:
      DataError: the images are not a batch.
    """
    _check_batch(images)
    is_flipped = jax.random.bernoulli(key, 0.5, (images.shape[0], 1, 1, 1))
    return jnp.where(is_flipped, images[:, :, ::-1], images)


def cutout(key: jax.Array, images: Images, length: int) -> jax.Array:
    """Sets a square at a random place of each image `[B, H, W, C]` to zero.

    Cutout (arXiv 1708.04552) as in the code of DARTS, cnn/utils.py: the centre is any
    pixel, so that the square may lie partly outside. It covers rows
    `centre - length // 2` up to, and without, `centre - length // 2 + length`. Images
    are normalised, so that zero is their mean.

    Raises:
      DataError: the images are not a batch or the length is negative.
    """
    _check_batch(images)
    if length < 0:
        raise DataError(f"cutout_length={length}: it must be at least 0.")
    batch_size, height, width, _ = images.shape

    def covered(key: jax.Array, size: int) -> jax.Array:
        starts = jax.random.randint(key, (batch_size, 1), 0, size) - length // 2
        positions = jnp.arange(size, dtype=starts.dtype)[None, :]
        return (positions >= starts) & (positions < starts + length)

    row_key, column_key = jax.random.split(key)
    rows, columns = covered(row_key, height), covered(column_key, width)
    hole = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(hole, jnp.zeros((), images.dtype), images)


def _check_batch(images: Images) -> None:
    if images.ndim != 4:
        raise DataError(
            f"images have shape {images.shape}; augmentation needs a batch "
            "[B, H, W, C]. Add the missing axes, such as images[None]."
        )


def _channel_values(name: str, values: ChannelValues, num_channels: int) -> jax.Array:
    array = jnp.asarray(values, jnp.float32)
    if array.shape != (num_channels,):
        raise DataError(
            f"{name} has shape {array.shape}; images with {num_channels} channels need "
            f"{num_channels} values, such as those of Dataset.{name}."
        )
    parts = values if isinstance(values, Sequence) else (values,)
    if not any(isinstance(part, jax.core.Tracer) for part in parts):
        known = np.asarray(values)
        # A deviation of 0 divides by it.
        if not ((known >= 0) & (known <= 1) & ((known > 0) | (name != "std"))).all():
            raise DataError(
                f"{name} is {known.tolist()}; it must lie in [0, 1], the units of "
                f"images divided by 255{', and above 0' if name == 'std' else ''}: "
                "divide values in units of bytes by 255."
            )
    return array.reshape(1, 1, 1, num_channels)
