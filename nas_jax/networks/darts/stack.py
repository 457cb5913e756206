"""The stack of cells of a DARTS network: where each cell stands.

Liu et al. 2019 (arXiv 1806.09055), section 3.2, and cnn/model.py of its code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax

from nas_jax.errors import ConfigError
from nas_jax.networks.layers import (
    Layers,
    Params,
    classifier_specs,
    classify,
    projection_specs,
    stem,
    stem_specs,
)
from nas_jax.networks.parameters import Specs, norm_specs
from nas_jax.networks.record import Observed

STEM_MULTIPLIER = 3
"""The stem has three times the channels of the first cell (DARTS)."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a cell stands in the stack.

    Attributes:
        name: Name of the cell in the search space, "normal" or "reduce".
        channels: Channels of its states.
        reduction: Whether it halves the image.
        reduce_first: Whether the cell before it did.
    """

    name: str
    channels: int
    reduction: bool
    reduce_first: bool


def reduction_layers(layers: int) -> tuple[int, ...]:
    """Positions of the reduction cells: a third and two thirds of the depth (DARTS).

    Two layers are TE-NAS' thin network, a normal and a reduction cell (arXiv
    2102.11535; lib/models/cell_searchs/search_model_darts_nasnet.py).
    """
    if layers < 3:
        return (layers - 1,)
    return (layers // 3, 2 * layers // 3)


def places(channels: int, layers: int) -> tuple[Place, ...]:
    """Every cell of a network; channels double at each reduction."""
    result: list[Place] = []
    reductions = reduction_layers(layers)
    for index in range(layers):
        reduction = index in reductions
        channels *= 2 if reduction else 1
        after = bool(result) and result[-1].reduction
        name = "reduce" if reduction else "normal"
        result.append(Place(name, channels, reduction, after))
    return tuple(result)


def check_image(height: int, width: int, layers: int) -> None:
    """Refuse an image that the reduction cells cannot halve.

    Raises:
        ConfigError: Names the size, the divisor and the nearest sizes that work.
    """
    divisor = 2 ** len(reduction_layers(layers))
    if height % divisor or width % divisor or min(height, width) < 2 * divisor:
        nearest = max(2, round(max(height, width) / divisor)) * divisor
        raise ConfigError(
            f"image size {height}x{width} does not fit {layers} layers: they halve the "
            f"image {len(reduction_layers(layers))} times, so height and width must be "
            f"multiples of {divisor}, at least {2 * divisor}; resize the images, for "
            f"example to {nearest}x{nearest}"
        )


def stack_specs(
    depth: int,
    size: tuple[int, int, int],
    of_cell: Callable[[Place], tuple[Specs, int]],
    affine: bool,
) -> Specs:
    """Parameters of a whole network.

    Args:
        depth: Channels of an image.
        size: Channels of the first cell's states, number of cells, and of logits.
        of_cell: Parameters of a cell's operations, and the states of its output.
        affine: Whether the normalisation of a cell's inputs has parameters.
    """
    channels, layers, classes = size
    inputs = [STEM_MULTIPLIER * channels] * 2
    specs = {"stem": stem_specs(depth, inputs[0])}
    for index, place in enumerate(places(channels, layers)):
        own, outputs = of_cell(place)
        for number, halves in enumerate((place.reduce_first, False)):
            projection = projection_specs(inputs[number], place.channels, halves)
            if affine:
                projection["norm"] = norm_specs(place.channels)
            own[f"preprocess_{number}"] = projection
        specs[f"cell_{index}"] = own
        inputs = [inputs[1], outputs * place.channels]
    specs["classifier"] = classifier_specs(inputs[1], classes)
    return specs


def run_stack(
    images: jax.Array,
    params: Params,
    layers: Layers,
    cells: Sequence[Place],
    run_cell: Callable[[int, Place, jax.Array, jax.Array, Params], jax.Array],
) -> Observed:
    """Stem, cells and classifier.

    Args:
        images: `[B, H, W, channels]`.
        params: As `stack_specs` describes them.
        layers: How layers are computed.
        cells: Where they stand.
        run_cell: A cell, from its number, its place, the outputs of the two before it
            and its parameters.
    """
    before = last = stem(images, params["stem"], layers)
    for index, place in enumerate(cells):
        output = run_cell(index, place, before, last, params[f"cell_{index}"])
        before, last = last, output
    return classify(last, params["classifier"], layers)
