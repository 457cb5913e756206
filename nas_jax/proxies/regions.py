"""Proxies that count the linear regions that inputs fall into."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nas_jax.errors import ConfigError
from nas_jax.proxies.network import Batch, ScoredNetwork, gaussian
from nas_jax.proxies.proxy import Proxy, register_proxy, require

REGION_SAMPLES = 1000
"""Inputs whose regions are counted: a batch of TE-NAS (arXiv 2102.11535,
prune_tenas.py), which adds up three, and ETE-NAS' default."""

REGION_SIZE = 4
"""Height and width of an input. TE-NAS takes 3; 4 is the least that a network can halve
without padding, as the supernets here do once when they have one or two cells."""

_SALTS = (np.uint32(0x9E3779B9), np.uint32(0x7F4A7C15))
"""Where the numbers of the two hashes begin."""


def pattern_hashes(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Two hashes of each input's activation pattern, `[B, 2]` uint32.

    A hash is the sum, modulo 2^32, of fixed random-looking numbers of the ReLUs that
    are active. Inputs with one pattern have equal hashes; two different patterns share
    both about once in 2^64 times (Zobrist 1970 does so with exclusive or).

    Args:
        pairs: See `Observed.relu_inputs`; a kind that is counted less than once has no
            part in the pattern.
    """
    total = jnp.zeros((pairs[0][0].shape[1], 2), jnp.uint32)
    first = 0
    for inputs, counts in pairs:
        stacked, batch = inputs.shape[:2]
        active = (inputs > 0).reshape(stacked, batch, -1)
        active &= (counts > 0)[:, None, None]
        relus = stacked * active.shape[-1]
        index = first + jnp.arange(relus, dtype=jnp.uint32)
        first += relus
        sums = [
            jnp.sum(
                jnp.where(active, _scrambled(index + salt).reshape(stacked, 1, -1), 0),
                axis=(0, 2),
                dtype=jnp.uint32,
            )
            for salt in _SALTS
        ]
        total += jnp.stack(sums, axis=-1)
    return total


def _scrambled(index: jax.Array) -> jax.Array:
    """A number of 32 bits that looks random: the last steps of MurmurHash3.

    Computed where it is used: a table of random numbers takes longer to compile than
    the network.
    """
    index ^= index >> 16
    index *= np.uint32(0x85EBCA6B)
    index ^= index >> 13
    index *= np.uint32(0xC2B2AE35)
    return index ^ (index >> 16)


def count_distinct(hashes: jax.Array) -> jax.Array:
    """Number of different rows of `[B, 2]`, a float32 scalar."""
    first, second = lax.sort((hashes[:, 0], hashes[:, 1]), num_keys=2)
    new = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return 1 + jnp.sum(new, dtype=jnp.float32)


def count_regions(pairs: list[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Number of different activation patterns among B inputs, a scalar.

    Two inputs have the same pattern if they agree on every ReLU that is counted at
    least once. TE-NAS (arXiv 2102.11535), section 3.1.2, compares all pairs; here equal
    hashes are counted, which a set of a million inputs gets wrong once in 10^7 times.
    """
    return count_distinct(pattern_hashes(pairs))


def random_crops(
    key: jax.Array,
    images: jax.Array,
    samples: int,
    size: int,
    depth: int | None = None,
) -> jax.Array:
    """Random cut-outs of random images, `[B, H, W, C] -> [samples, size, size, depth]`.

    Fewer channels than the images', `depth`, are random neighbours.

    Raises:
        ConfigError: If the images are smaller than that.
    """
    count, height, width, channels = images.shape
    if min(height, width) < size:
        raise ConfigError(
            f"cannot cut {size}x{size} out of images of {height}x{width}; use larger "
            "images, or linear_regions_proxy with a smaller size"
        )
    depth = channels if depth is None else depth
    limits = [count, height - size + 1, width - size + 1, channels - depth + 1]
    ends = jnp.array(limits, jnp.int32)
    places = jax.random.randint(key, (samples, 4), 0, ends, jnp.int32)

    def crop(place: jax.Array) -> jax.Array:
        return lax.dynamic_slice(images, place, (1, size, size, depth))[0]

    return jax.vmap(crop)(places)


def linear_regions_proxy(
    name: str,
    *,
    samples: int = REGION_SAMPLES,
    size: int = REGION_SIZE,
    source: Literal["crops", "noise"] = "crops",
    batches: int = 1,
    depth: int | None = None,
) -> Proxy:
    """A proxy that counts linear regions; not registered yet.

    The inputs must be small and the network thin, or every input has a region of its
    own and the score is `samples` for all networks. TE-NAS gives a network of one
    channel and two cells 3x3 pixels.

    Args:
        name: Its name.
        samples: Number of inputs in a batch.
        size: Height and width of an input.
        source: Cut-outs of the images, or N(0, 1).
        batches: Batches, each normalised by itself; patterns are counted over all of
            them. The score is at most `batches * samples`.
        depth: Channels of an input; None is the images'.
    """

    def score(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
        """Number of linear regions that small random inputs fall into; NaN fails.

        Counted by activation patterns: TE-NAS (Chen et al. 2021, arXiv 2102.11535),
        section 3.1.2, with the statistics of the batch, as there.

        Raises:
            ConfigError: If the network has no ReLUs, or the images are too small.
        """
        images = batch.images

        def hashes(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            if source == "noise":
                shape = (samples, size, size, depth or images.shape[-1])
                inputs = gaussian(key, shape, images.dtype)
            else:
                inputs = random_crops(key, images, samples, size, depth)
            seen = network.tell(network.params, inputs)
            pairs = require(name, "relu_inputs", seen.relu_inputs)
            if not pairs:
                raise ConfigError(
                    f"{name} counts the regions that ReLUs cut, and this network tells "
                    "of none; choose a proxy that does without: epe_nas, jacov, params"
                )
            # A ReLU that is counted and receives NaN would count as inactive.
            broken = [
                jnp.any(jnp.isnan(x).reshape(len(x), -1).any(1) & (counts > 0))
                for x, counts in pairs
            ]
            return pattern_hashes(pairs), jnp.any(jnp.stack(broken))

        if batches == 1:
            found, broken = hashes(key)
        else:
            found, broken = lax.map(hashes, jax.random.split(key, batches))
        distinct = count_distinct(found.reshape(-1, 2))
        return jnp.where(jnp.any(broken), jnp.nan, distinct)

    passes = "pass" if batches == 1 else "passes"
    return Proxy(
        name,
        score,
        title="linear regions",
        cost=f"{batches} forward {passes} of {samples:,} inputs of {size}x{size}",
        input_kind="noise" if source == "noise" else "data",
        reference="arXiv 2102.11535, section 3.1.2",
        needs=("relu_inputs",),
        intermediate=name,
    )


register_proxy(linear_regions_proxy("linear_regions"))
