"""Data: sources, splits, the order of batches, and augmentation on the device."""

from nas_jax.data.augment import augment, cutout, normalize, random_crop, random_flip
from nas_jax.data.dataset import Dataset, content_sha256
from nas_jax.data.digits import load_digits
from nas_jax.data.folder import load_folder
from nas_jax.data.npz import load_npz
from nas_jax.data.remarks import remarks
from nas_jax.data.sources import OPTIONS, SOURCES, Source, load, register_source
from nas_jax.data.split import (
    bilevel_epoch_order,
    bilevel_split,
    epoch_order,
    stratified_split,
)
from nas_jax.data.synthetic import synthetic
from nas_jax.data.tfds import load_tfds

__all__ = [
    "OPTIONS",
    "SOURCES",
    "Dataset",
    "Source",
    "augment",
    "bilevel_epoch_order",
    "bilevel_split",
    "content_sha256",
    "cutout",
    "epoch_order",
    "load",
    "load_digits",
    "load_folder",
    "load_npz",
    "load_tfds",
    "normalize",
    "random_crop",
    "random_flip",
    "register_source",
    "remarks",
    "stratified_split",
    "synthetic",
]
