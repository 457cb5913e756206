"""Families of networks whose architectures are data, ready to be scored.

A family has the networks of a whole search space: `init` draws weights that all of them
share, `encode` turns genotypes into arrays, and `scored` is the network of one
architecture's arrays, which may be traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks import abstract_variables, darts_family, init_variables
from nas_jax.networks import nasbench201 as nasbench201_family
from nas_jax.networks.darts_family import DartsFamily, darts_codes
from nas_jax.networks.family import check_codes
from nas_jax.networks.nasbench201 import NasBench201Family
from nas_jax.proxies import Observed, ScoredNetwork
from nas_jax.spaces import Genotype, SearchSpace, darts_space
from nas_jax.spaces.nasbench201 import (
    NASBENCH201_OPS,
    nasbench201_space,
    operations_of,
)

Codes = dict[str, Any]


class Family(Protocol):
    """Networks of a search space; see the module."""

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        ...

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Any:
        """Initial weights for images of a shape (height, width, channels)."""
        ...

    def encode(self, genotypes: Sequence[Genotype]) -> Codes:
        """Arrays by name, int32 `[N, ...]`.

        Raises:
            GenotypeError: One is of another space, or cannot be encoded.
        """
        ...

    def scored(self, params: Any, codes: Codes) -> ScoredNetwork:
        """The network of one architecture, as proxies see it.

        Args:
            params: Weights that all of them share.
            codes: One architecture's arrays, which may be traced.

        Raises:
            ConfigError: The arrays are those of several architectures, or no codes.
        """
        ...


class NasBench201:
    """NAS-Bench-201's networks; `operations` `[6]`."""

    def __init__(self, channels: int, cells: int, num_classes: int) -> None:
        """Published: 16 channels, 5 cells of each stage."""
        self.network = NasBench201Family(channels, cells, num_classes)

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return nasbench201_space()

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Any:
        """Initial weights of every operation of every edge."""
        return _init(self.network, key, image_shape, {"operations": (6,)})

    def encode(self, genotypes: Sequence[Genotype]) -> Codes:
        """Index of each edge's operation in `NASBENCH201_OPS`."""
        index = {op: i for i, op in enumerate(NASBENCH201_OPS)}
        rows = [[index[op] for op in operations_of(g)] for g in genotypes]
        return {"operations": np.array(rows, np.int32).reshape(-1, 6)}

    def scored(self, params: Any, codes: Codes) -> ScoredNetwork:
        """The network of one architecture, as proxies see it."""
        check_codes(codes, self.network.code_limits)
        live = nasbench201_family.live_operations(params, codes["operations"])
        counts = {
            op: jnp.sum(codes["operations"] == i)
            for i, op in enumerate(NASBENCH201_OPS)
        }
        return _scored(self.network, params, codes, live, counts)


class Darts:
    """Discrete networks of the DARTS space; `operations` and `sources` `[2, 8]`."""

    def __init__(
        self,
        channels: int,
        cells: int,
        num_classes: int,
        space: SearchSpace | None = None,
    ) -> None:
        """NAS-Bench-301's proxies: 32 channels, 8 cells."""
        self.network = DartsFamily(
            channels, cells, num_classes, darts_space() if space is None else space
        )

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.network.space

    def init(self, key: jax.Array, image_shape: tuple[int, int, int]) -> Any:
        """Initial weights of every operation of every gene."""
        shape = (2, len(self.space.cells[0].gene_nodes))
        shapes = {"operations": shape, "sources": shape}
        return _init(self.network, key, image_shape, shapes)

    def encode(self, genotypes: Sequence[Genotype]) -> Codes:
        """Operation and source of each gene, see `darts_codes`."""
        for genotype in genotypes:
            if genotype.space != self.space:
                raise GenotypeError(
                    f"a genotype of {genotype.space.name!r} is no architecture of "
                    f"{self.space.name!r}; give genotypes of that space"
                )
        genes = len(self.space.cells[0].gene_nodes)
        codes = np.array([darts_codes(g) for g in genotypes], np.int32)
        codes = codes.reshape(-1, 2, 2, genes)
        return {"operations": codes[:, 0], "sources": codes[:, 1]}

    def scored(self, params: Any, codes: Codes) -> ScoredNetwork:
        """The network of one architecture, as proxies see it."""
        check_codes(codes, self.network.code_limits)
        live = darts_family.live_operations(self.network, params, **codes)
        ops = self.space.cells[0].selectable
        counts = {op: jnp.sum(codes["operations"] == i) for i, op in enumerate(ops)}
        unbuilt = darts_family.norm_parameters(params, live)
        return _scored(self.network, params, codes, live, counts, unbuilt)


FAMILIES = {"nasbench201": (NasBench201, 16, 5), "darts": (Darts, 16, 8)}
"""Families by space, with their usual channels and cells."""


def get_family(
    name: str,
    *,
    channels: int | None = None,
    cells: int | None = None,
    num_classes: int = 10,
) -> Family:
    """The networks of a space.

    Args:
        name: A key of FAMILIES.
        channels: Channels of the first cells; None is the usual number.
        cells: Cells of each stage (nasbench201) or of the network (darts).
        num_classes: Number of logits.

    Raises:
        ConfigError: There is none of that name, which lists the names, or a number is
            less than 1.
    """
    if name not in FAMILIES:
        raise ConfigError(
            f"no networks to score of the space {name!r}; allowed: "
            f"{', '.join(FAMILIES)}"
        )
    family, usual_channels, usual_cells = FAMILIES[name]
    numbers = {
        "channels": usual_channels if channels is None else channels,
        "cells": usual_cells if cells is None else cells,
        "num_classes": num_classes,
    }
    for what, number in numbers.items():
        if number < 1:
            raise ConfigError(f"{what} is {number}; it must be at least 1")
    made: Family = family(*numbers.values())
    return made


def _init(
    network: Any,
    key: jax.Array,
    image_shape: tuple[int, int, int],
    codes: Mapping[str, tuple[int, ...]],
) -> Any:
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    shapes = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in codes.values()]
    return init_variables(key, abstract_variables(network, images, *shapes))["params"]


def _scored(
    network: Any,
    params: Any,
    codes: Codes,
    live: Any,
    operations: dict[str, jax.Array],
    unbuilt: jax.Array | float = 0.0,
) -> ScoredNetwork:
    def observe(
        params: Any, images: jax.Array, *, norm: Any, gates: Any = None
    ) -> Observed:
        told = network.clone(norm=norm).apply(
            {"params": params}, images, *codes.values(), gates
        )
        assert isinstance(told, Observed)
        return told

    def logits(params: Any, images: jax.Array, *, norm: Any) -> jax.Array:
        result = observe(params, images, norm=norm).logits
        assert result is not None
        return result

    def macs(image_shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(network.macs(image_shape, *codes.values()))

    return ScoredNetwork(
        logits, params, live, observe, macs, operations, unbuilt=unbuilt
    )
