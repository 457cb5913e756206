"""What `nas-jax score` computes: checked networks, architectures, images, proxies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax import data
from nas_jax.cli.score.files import read_architectures
from nas_jax.config import ExperimentConfig
from nas_jax.errors import ConfigError
from nas_jax.networks import family_of, functions_of
from nas_jax.plugins import code_digests
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy, list_proxies
from nas_jax.proxies.size import SEPARABLE
from nas_jax.run.images import (
    check_copies,
    load_images,
    loading_options,
    scored_images,
)
from nas_jax.scoring import ScoredArchitectures, sample_genotypes
from nas_jax.spaces import get_mask

PER_IMAGE = frozenset({"ntk_cond", "ntk_eigen"})
"""They take a gradient for every image of the batch: scored only where asked for."""


@dataclasses.dataclass(frozen=True)
class Task:
    """Everything that decides the scores, checked.

    Attributes:
        architectures: N architectures in the notation of the space.
        codes: The same as arrays `[N, ...]`.
        key: For whatever proxies draw.
        settings: What another run must have in common to give the same scores.
    """

    family: ScoredArchitectures
    params: Any
    architectures: tuple[str, ...]
    codes: Any
    proxies: tuple[str, ...]
    batch: Batch
    key: jax.Array
    settings: dict[str, Any]
    source: dict[str, Any]


def make_task(config: ExperimentConfig, asked: Any) -> Task:
    """Loads and checks all that is scored; compiles no network.

    Raises:
        NasJaxError: On an unknown name, a malformed file, images that the networks
            cannot halve, or too few of them.
    """
    for name in asked.proxies or ():
        get_proxy(name)
    size = asked.batch_size
    images = load_images(config.data)
    if size > images.num_train:
        raise ConfigError(
            f"--batch_size is {size}, but there are {images.num_train} training "
            f"images; pass --batch_size={images.num_train} or less, or give more images"
        )
    # Where none are named, all that suit the networks: some compare images.
    named = list(map(get_proxy, asked.proxies or list_proxies()))
    check_copies(size, images, named, "--batch_size", "--proxies")
    start = get_mask(asked.space)
    # The networks of a part of a space are those of the whole.
    family = ScoredArchitectures(
        start.space, images.num_classes, channels=asked.channels, cells=asked.cells
    )
    height, width, _ = images.image_shape
    family_of(start.space).check_images(height, width, family.size.cells)
    seed = config.seed if asked.seed is None else asked.seed
    if asked.archs:
        genotypes = read_architectures(
            asked.archs, start, lambda genotype: family.encode([genotype])
        )
    else:
        genotypes = sample_genotypes(start, asked.num, seed)
    weights_key, proxies_key = jax.random.split(jax.random.key(seed))
    params = family.init(weights_key, images.image_shape)
    codes = jax.tree.map(np.asarray, family.encode(genotypes))
    chosen = choose_proxies(family, params, codes, images.image_shape, asked.proxies)
    architectures = tuple(map(str, genotypes))
    pool = scored_images(images, map(get_proxy, chosen))
    batch, digest = _draw_batch(images, pool, size, seed)
    settings = {
        "space": asked.space,
        **family.size._asdict(),
        "proxies": list(chosen),
        "num": len(architectures),
        "seed": seed,
        "batch_size": size,
        "plugins": code_digests(
            [*functions_of(start.space), *(get_proxy(name).score for name in chosen)]
        ),
        "JAX_ENABLE_X64": bool(jax.config.values["jax_enable_x64"]),
        "image_shape": images.image_shape,
        "num_classes": images.num_classes,
        # Content and not paths: files change under their name, and move.
        "architectures_sha256": _digest("\n".join(architectures).encode()),
        "batch_sha256": digest,
    }
    drawn = chosen, batch, proxies_key
    source = loading_options(config.data)
    return Task(family, params, architectures, codes, *drawn, settings, source)


def _draw_batch(
    images: data.Dataset, pool: np.ndarray, size: int, seed: int
) -> tuple[Batch, str]:
    """The first batch of a seeded order of some training images, and its SHA-256."""
    index = data.epoch_order(seed, 0, pool, size)[0]
    pixels, labels = images.x_train[index], images.y_train[index]
    digest = _digest(pixels.tobytes(), labels.tobytes(), repr(images.mean).encode())
    normalised = data.normalize(jnp.asarray(pixels), images.mean, images.std)
    return Batch(normalised, jnp.asarray(labels)), digest


def choose_proxies(
    family: ScoredArchitectures,
    params: Any,
    codes: Any,
    image_shape: tuple[int, int, int],
    asked: Sequence[str] | None,
) -> tuple[str, ...]:
    """The proxies asked for, or all that suit the networks but those PER_IMAGE."""
    told, operations = _told(family, params, codes, image_shape)
    able = [name for name in list_proxies() if set(get_proxy(name).needs) <= told]
    if asked is None:
        # Nobody learns from a count of operations that the space does not have.
        idle = set() if operations & set(SEPARABLE) else {"sep_convs"}
        return tuple(name for name in able if name not in idle | PER_IMAGE)
    for name in asked:
        missing = [need for need in get_proxy(name).needs if need not in told]
        if missing:
            raise ConfigError(
                f"proxy {name!r} needs {', '.join(missing)}, which the networks of "
                f"space {family.space.name!r} do not tell; allowed: {', '.join(able)}"
            )
    return tuple(dict.fromkeys(asked))


def _told(
    family: ScoredArchitectures,
    params: Any,
    codes: Any,
    image_shape: tuple[int, int, int],
) -> tuple[set[str], set[str]]:
    """What networks of a family can tell, and names of the operations they count."""
    network: list[ScoredNetwork] = []

    def look(params: Any, codes: Any, images: jax.Array) -> Any:
        network.append(family.scored(params, codes))
        return network[0].tell(params, images)

    first = jax.tree.map(lambda x: x[0], codes)
    image = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    seen = jax.eval_shape(look, params, first, image)._asdict()
    seen |= {name: getattr(network[0], name) for name in ("macs", "operations")}
    told = {name for name, value in seen.items() if value is not None}
    return told, set(network[0].operations or ())


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()
