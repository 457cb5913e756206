"""Proxies that count the linear regions that inputs fall into."""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.proxies.activation import hamming_kernel
from nas_jax.proxies.network import Batch, ScoredNetwork
from nas_jax.proxies.proxy import Proxy, register_proxy, require

REGION_SAMPLES = 1000
"""Inputs whose regions are counted: a batch of TE-NAS (arXiv 2102.11535,
prune_tenas.py), which adds up three, and ETE-NAS' default."""

REGION_SIZE = 4
"""Height and width of an input. TE-NAS takes 3; 4 is the least that a network can halve
without padding, as the supernets here do once when they have one or two cells."""


def count_regions(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Number of different activation patterns among B inputs, a scalar.

    Two inputs have the same pattern if they agree on every ReLU that is counted at
    least once; the first of each kind counts. TE-NAS (arXiv 2102.11535), section 3.1.2.

    Args:
        pairs: See `Observed.relu_inputs`.
    """
    # Pair by pair: each comparison is of whole numbers that float32 holds exactly.
    same: list[jax.Array] = []
    for inputs, counts in pairs:
        agree = hamming_kernel(inputs, counts > 0)
        same.append(agree == jnp.diagonal(agree)[:, None])
    alike = functools.reduce(jnp.logical_and, same)
    seen_before = jnp.any(jnp.tril(alike, k=-1), axis=1)
    return jnp.sum(~seen_before, dtype=agree.dtype)


def random_crops(
    key: jax.Array, images: jax.Array, samples: int, size: int
) -> jax.Array:
    """Random cut-outs of random images, `[B, H, W, C] -> [samples, size, size, C]`.

    Raises:
        ConfigError: If the images are smaller than that.
    """
    count, height, width, channels = images.shape
    if min(height, width) < size:
        raise ConfigError(
            f"cannot cut {size}x{size} out of images of {height}x{width}; use larger "
            "images, or linear_regions_proxy with a smaller size"
        )
    limits = jnp.array([count, height - size + 1, width - size + 1])
    places = jax.random.randint(key, (samples, 3), 0, limits)

    def crop(place: jax.Array) -> jax.Array:
        start = (*place, 0)
        return jax.lax.dynamic_slice(images, start, (1, size, size, channels))[0]

    return jax.vmap(crop)(places)


def linear_regions_proxy(
    name: str,
    *,
    samples: int = REGION_SAMPLES,
    size: int = REGION_SIZE,
    source: Literal["crops", "noise"] = "crops",
) -> Proxy:
    """A proxy that counts linear regions; not registered yet.

    The inputs must be small and the network thin, or every input has a region of its
    own and the score is `samples` for all networks. TE-NAS gives a network of one
    channel and two cells 3x3 pixels.

    Args:
        name: Its name.
        samples: Number of inputs; the score is at most this.
        size: Height and width of an input.
        source: Cut-outs of the images, or N(0, 1).
    """

    def score(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
        """Number of linear regions that small random inputs fall into.

        Counted by activation patterns: TE-NAS (Chen et al. 2021, arXiv 2102.11535),
        section 3.1.2, with the statistics of the batch, as there.

        Raises:
            ConfigError: If the network cannot tell what its ReLUs receive or has none,
                or the images are too small.
        """
        images = batch.images
        if source == "noise":
            shape = (samples, size, size, images.shape[-1])
            inputs = jax.random.normal(key, shape, images.dtype)
        else:
            inputs = random_crops(key, images, samples, size)
        seen = network.tell(network.params, inputs)
        pairs = require(name, "relu_inputs", seen.relu_inputs)
        if not pairs:
            raise ConfigError(
                f"{name} counts the regions that ReLUs cut, and this network tells of "
                "none; choose a proxy that does without: epe_nas, jacov, params"
            )
        return count_regions(pairs)

    return Proxy(
        name,
        score,
        higher_is_better=True,
        needs_labels=False,
        needs_gradient=False,
        norm="batch",
        input_kind="noise" if source == "noise" else "data",
        reference="arXiv 2102.11535, section 3.1.2",
        needs=("relu_inputs",),
        intermediate=name,
    )


LINEAR_REGIONS = register_proxy(linear_regions_proxy("linear_regions"))
