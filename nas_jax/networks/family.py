"""What everybody else asks of the networks of a search space: one object a space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError, MaskError
from nas_jax.networks.engines.weights import ArchWeights, mixture_weights, zero_alphas
from nas_jax.networks.layers import Norm
from nas_jax.networks.ops import OPS
from nas_jax.networks.parameters import abstract_variables, init_variables
from nas_jax.networks.record import Observed
from nas_jax.spaces import Genotype, SearchSpace, SpaceMask

Params = Any
ImageShape = tuple[int, int, int]


class Size(NamedTuple):
    """How large a network is.

    Attributes:
        channels: Channels of its first cells.
        cells: Its cells; those of each stage where a family has several.
    """

    channels: int
    cells: int


class AnySupernet(Protocol):
    """A Flax module of images, architecture weights and a key; see `MixedNetwork`."""

    mask: SpaceMask

    def apply(self, variables: Any, *args: Any, **kw: Any) -> Any:
        """Logits `[B, classes]`; with `method="observe"` an `Observed`."""
        ...


class AnyNetwork(Protocol):
    """A Flax module of images, `train` and a key; see `DerivedNetwork`."""

    num_classes: int

    def apply(self, variables: Any, *args: Any, **kw: Any) -> Any:
        """Logits `[B, classes]`."""
        ...


@dataclasses.dataclass(frozen=True)
class NetworkFamily:
    """The networks of a kind of search spaces.

    All modules have a method `specs`, see `parameters`.

    Attributes:
        name: What `SearchSpace.family` says.
        supernet: From a mask, a size, a number of classes, and by keyword `remat` and
            `dtype`: the supernet of the operations that the mask keeps.
        network: From a genotype, a size and a number of classes: the network that is
            trained. Raises GenotypeError for an architecture that cannot be.
        coded: From a space, a size and a number of classes: all networks of the space
            as one module of images and codes, see `CodedDarts`.
        check_space: Raises ConfigError where a space is not of this kind.
        check_images: Raises ConfigError where height, width and a number of cells do
            not fit each other.
        usual_size: Size of the supernet that a search trains by default.
        stages: Stages of equal cells, each of so many as a size says; 1 for none.
        min_cells: Fewest cells of a size.
        facts: What else is known of a genotype, such as its official index.
    """

    name: str
    supernet: Callable[..., Any]
    network: Callable[[Genotype, Size, int], Any]
    coded: Callable[[SearchSpace, Size, int], Any]
    check_space: Callable[[SearchSpace], None]
    check_images: Callable[[int, int, int], None]
    usual_size: Size
    stages: int = 1
    min_cells: int = 1
    facts: Callable[[Genotype], dict[str, Any]] = lambda genotype: {}


FAMILIES: dict[str, NetworkFamily] = {}
"""Families by name."""


def register_family(family: NetworkFamily) -> NetworkFamily:
    """Makes a family known, which spaces name in `SearchSpace.family`.

    Raises:
        ConfigError: Another one has its name.
    """
    if FAMILIES.get(family.name, family) is not family:
        raise ConfigError(
            f"there is a family of networks {family.name!r} already; give yours "
            "another name"
        )
    FAMILIES[family.name] = family
    return family


def family_of(space: SearchSpace) -> NetworkFamily:
    """The networks of a search space.

    Raises:
        MaskError: No network computes an operation of the space.
        ConfigError: There is no such family, or the space is not of its kind.
    """
    if space.family not in FAMILIES:
        raise ConfigError(
            f"search space {space.name!r} names the networks {space.family!r}; "
            f"allowed: {', '.join(FAMILIES)}; add your own by register_family"
        )
    ops = dict.fromkeys(op for cell in space.cells for op in cell.ops)
    missing = [op for op in ops if op not in OPS]
    if missing:
        raise MaskError(
            f"no network computes {', '.join(missing)} of search space {space.name!r}; "
            f"choose a space of these operations: {', '.join(OPS)}; or add your own by "
            "register_op"
        )
    family = FAMILIES[space.family]
    family.check_space(space)
    return family


def functions_of(space: SearchSpace) -> list[Callable[..., Any]]:
    """The functions that compute the networks of a space: whose code they are."""
    family = family_of(space)
    ops = [OPS[op] for cell in space.cells for op in cell.ops]
    forms = [form.compute for op in ops for form in (op.plain, op.form(2))]
    return [family.supernet, family.network, family.coded, *forms]


def check_size(
    space: SearchSpace, height: int, width: int, cells: int, field: str
) -> None:
    """Refuses networks of so many cells for images of a size.

    Args:
        space: The search space.
        height: Of the images.
        width: Of the images.
        cells: Cells of the network, or of a stage.
        field: What says how many there are, for the message.

    Raises:
        ConfigError: There are too few, or the images cannot be halved.
    """
    family = family_of(space)
    if cells < family.min_cells:
        raise ConfigError(
            f"{field} is {cells}: it must be {family.min_cells} or more for the "
            f"networks of {space.name!r}, for one cell of each kind at least"
        )
    family.check_images(height, width, cells)


def count_alive(space: SearchSpace, live: Any) -> dict[str, jax.Array]:
    """On how many edges of its cells each operation is alive, by name."""
    counts: dict[str, jax.Array] = {}
    for cell in space.cells:
        for column, op in enumerate(cell.ops):
            here = jnp.sum(jnp.asarray(live[cell.name])[:, column])
            counts[op] = counts[op] + here if op in counts else here
    return counts


class Scorable:
    """Networks of one set of weights that an argument, the codes, tells apart."""

    def init(self, key: jax.Array, image_shape: ImageShape) -> Params:
        """Initial weights for images of a shape (height, width, channels)."""
        raise NotImplementedError

    def logits(
        self, params: Params, codes: Any, images: jax.Array, norm: Norm
    ) -> jax.Array:
        """Logits `[B, classes]` of images `[B, H, W, C]`."""
        logits = self.observe(params, codes, images, norm).logits
        assert logits is not None
        return logits

    def observe(
        self,
        params: Params,
        codes: Any,
        images: jax.Array,
        norm: Norm,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits and all that proxies ask for."""
        raise NotImplementedError

    def live(self, params: Params, codes: Any) -> Any:
        """The tree of `params`, 1 for each layer that takes part, else 0."""
        raise NotImplementedError

    def operations(self, codes: Any) -> dict[str, jax.Array]:
        """How often each operation occurs, by name."""
        raise NotImplementedError

    def unbuilt(self, codes: Any) -> jax.Array:
        """Parameters of an architecture that are not in `params`, a scalar."""
        del codes
        return jnp.zeros(())


class Candidates(Scorable):
    """All that a mask may keep, as networks of one supernet's weights.

    The codes are 0/1 arrays `[edges, operations]` by cell name. All live operations of
    an edge weigh the same, as at the start of a search.
    """

    def __init__(self, mask: SpaceMask, size: Size, num_classes: int) -> None:
        build = family_of(mask.space).supernet
        # Recomputing each operation is the smallest program; what happens in it can
        # be told where nothing is computed again.
        self._network = build(mask, size, num_classes, remat="op")
        self._told = build(mask, size, num_classes, remat="none")

    def init(self, key: jax.Array, image_shape: ImageShape) -> Params:
        """Initial weights of the supernet."""
        return _init(self._network, key, image_shape)

    def logits(
        self, params: Params, codes: Any, images: jax.Array, norm: Norm
    ) -> jax.Array:
        """Logits `[B, classes]`."""
        network, weights = self._network.clone(norm=norm), self._weights(codes)
        logits: jax.Array = network.apply({"params": params}, images, weights)
        return logits

    def observe(
        self,
        params: Params,
        codes: Any,
        images: jax.Array,
        norm: Norm,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits and all that proxies ask for."""
        network, weights = self._told.clone(norm=norm), self._weights(codes)
        told: Observed = network.apply(
            {"params": params}, images, weights, gates, method="observe"
        )
        return told

    def live(self, params: Params, codes: Any) -> Any:
        """1 for each layer of an operation that is alive, else 0."""
        return self._network.live(params, self._weights(codes))

    def operations(self, codes: Any) -> dict[str, jax.Array]:
        """On how many edges of the space's cells each operation is alive."""
        return count_alive(self._network.mask.space, codes)

    def _weights(self, codes: Any) -> ArchWeights:
        return mixture_weights(zero_alphas(self._network.mask.space), codes)


class Architectures(Scorable):
    """All architectures of a space, as networks of shared weights.

    Attributes:
        space: The search space.
        encode: From genotypes to codes, arrays `[N, ...]` by name; GenotypeError for
            those of another space.
    """

    def __init__(self, space: SearchSpace, size: Size, num_classes: int) -> None:
        self.space = space
        self._network = family_of(space).coded(space, size, num_classes)
        self.encode: Callable[[Sequence[Genotype]], dict[str, Any]] = (
            self._network.encode
        )

    def init(self, key: jax.Array, image_shape: ImageShape) -> Params:
        """Initial weights of every operation of every gene."""
        return _init(self._network, key, image_shape)

    def observe(
        self,
        params: Params,
        codes: Any,
        images: jax.Array,
        norm: Norm,
        gates: Sequence[jax.Array] | None = None,
    ) -> Observed:
        """The logits and all that proxies ask for."""
        network = self._network.clone(norm=norm)
        told: Observed = network.apply({"params": params}, images, codes, gates)
        return told

    def live(self, params: Params, codes: Any) -> Any:
        """1 for each layer that an architecture has, else 0."""
        return self._network.live(params, codes)

    def operations(self, codes: Any) -> dict[str, jax.Array]:
        """How many genes have each operation."""
        ops = self.space.cells[0].selectable
        return {op: jnp.sum(codes["operations"] == i) for i, op in enumerate(ops)}

    def unbuilt(self, codes: Any) -> jax.Array:
        """Parameters of an architecture that the shared weights lack."""
        unbuilt: jax.Array = self._network.unbuilt(codes)
        return unbuilt


def _init(network: Any, key: jax.Array, image_shape: ImageShape) -> Params:
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    return init_variables(key, abstract_variables(network, images))["params"]
