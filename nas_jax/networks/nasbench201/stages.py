"""What NAS-Bench-201's networks share: stem, three stages of equal cells, classifier.

Dong and Yang 2020 (arXiv 2001.00326), section 2.1 and figure 1; the network is that of
AutoDL-Projects (lib/models/cell_infers/tiny_network.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from nas_jax.errors import ConfigError
from nas_jax.networks.layers import (
    Layers,
    Params,
    classifier_specs,
    classify,
    normalise_one,
    stem,
    stem_specs,
)
from nas_jax.networks.parameters import (
    Spec,
    Specs,
    merge,
    norm_specs,
    stacked,
    statistics,
)
from nas_jax.networks.record import Observed, Recorder, scan
from nas_jax.spaces.nasbench201 import nasbench201_space

STAGES = 3
"""Stages of cells; between two of them a residual block halves the image."""

CELL = nasbench201_space().cells[0]
"""The cell of the space."""

RunCell = Callable[[jax.Array, Params, Layers], jax.Array]
"""A cell `[B, H, W, C] -> [B, H, W, C]` from its input and its parameters."""


def network_specs(
    depth: int, size: tuple[int, int, int], of_cell: Callable[[int], Specs]
) -> Specs:
    """Parameters of a whole network.

    Args:
        depth: Channels of an image.
        size: Channels of the first stage, cells of each stage, number of logits.
        of_cell: Parameters of a cell of so many channels; stacked for a stage.
    """
    channels, cells, classes = size
    specs: Specs = {"stem": stem_specs(depth, channels)}
    for stage in range(STAGES):
        if stage:
            specs[f"reduce_{stage}"] = {
                "a": _conv_norm_specs(channels, 2 * channels),
                "b": _conv_norm_specs(2 * channels, 2 * channels),
                "shortcut": Spec((channels, 2 * channels), channels),
            }
            channels *= 2
        specs[f"stage_{stage}"] = stacked(of_cell(channels), cells)
    specs["last_norm"] = norm_specs(channels)
    specs["classifier"] = classifier_specs(channels, classes)
    return specs


def run_network(
    images: jax.Array,
    params: Params,
    layers: Layers,
    cells: int,
    run_cell: RunCell,
    again: bool = False,
) -> Observed:
    """Stem, stages and classifier; equal cells are turns of one loop.

    Args:
        images: `[B, H, W, channels]`.
        params: As `network_specs` describes them. Running statistics among them are
            replaced in the dicts.
        layers: How layers are computed.
        cells: Cells of each stage.
        run_cell: Computes one of them.
        again: Whether the backward pass computes a cell again.

    Raises:
        ConfigError: If the image cannot be halved twice.
    """
    check_halves(*images.shape[1:3])
    x = stem(images, params["stem"], layers)
    for stage in range(STAGES):
        if stage:
            x = _reduce(x, params[f"reduce_{stage}"], layers)
        x = _stage(x, params[f"stage_{stage}"], layers, cells, run_cell, again)
    x = normalise_one(x[None], params["last_norm"], layers)
    return classify(layers.relu(x)[0], params["classifier"], layers)


def check_halves(height: int, width: int) -> None:
    """Refuse an image that the residual blocks cannot halve.

    Raises:
        ConfigError: Names the size and the nearest that works.
    """
    divisor = 2 ** (STAGES - 1)
    if height % divisor or width % divisor:
        nearest = max(1, round(max(height, width) / divisor)) * divisor
        raise ConfigError(
            f"image size {height}x{width} does not fit NAS-Bench-201's network: height "
            f"and width must be multiples of {divisor}; resize the images, for example "
            f"to {nearest}x{nearest}"
        )


def _stage(
    x: jax.Array,
    params: Params,
    layers: Layers,
    cells: int,
    run_cell: RunCell,
    again: bool,
) -> jax.Array:
    def body(record: Recorder | None, x: jax.Array, own: Params) -> jax.Array:
        return run_cell(x, own, dataclasses.replace(layers, record=record))

    if not statistics(params):
        return scan(layers.record, body, x, params, cells, again=again)

    def turn(x: jax.Array, own: Params) -> tuple[jax.Array, Params]:
        own = merge(own, statistics(own))  # Dicts of this turn.
        return run_cell(x, own, layers), statistics(own)

    x, moved = jax.lax.scan(turn, x, params)
    params.update(merge(params, moved))
    return x


def _reduce(x: jax.Array, params: Params, layers: Layers) -> jax.Array:
    """ResNet's basic block of stride 2, with a mean pool in its shortcut.

    Returns:
        `[B, H, W, C] -> [B, H / 2, W / 2, 2 C]`.
    """
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    shortcut = jnp.mean(squares, axis=(2, 4))[None]
    x = x[None]
    for part, stride in (("a", 2), ("b", 1)):
        own = params[part]
        x = layers.conv(layers.relu(x), own["kernel"][None], stride)
        x = normalise_one(x, own["norm"], layers)
    return (x + layers.pointwise(shortcut, params["shortcut"][None]))[0]


def _conv_norm_specs(inputs: int, outputs: int) -> Specs:
    kernel = Spec((3, 3, inputs, outputs), 9 * inputs)
    return {"kernel": kernel, "norm": norm_specs(outputs)}
