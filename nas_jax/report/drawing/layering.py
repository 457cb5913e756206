"""Layered layout of a cell's graph (Sugiyama, Tagawa and Toda 1981).

Every state sits in the layer of its longest path from the inputs; between two layers
of states lies a layer of operation labels. An edge gets one item in each layer that it
crosses: its label in the last one, a bend in the others. Items of a layer keep their
distance, and an edge runs straight through a layer at its own item, so no label
overlaps another and no edge runs through a state, by construction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SWEEPS = 12


@dataclass(frozen=True)
class Link:
    """An edge between states; a link without a label leads to the output."""

    source: int
    target: int
    label: str | None


@dataclass(frozen=True)
class Item:
    """A state (`state` set), an edge's label, or a bend of an edge."""

    layer: int
    state: int | None = None
    link: int | None = None
    label: bool = False


@dataclass(frozen=True)
class Layout:
    """Items by layer in their order across, their positions, each link's chain."""

    layers: tuple[tuple[Item, ...], ...]
    position: dict[Item, float]
    chains: tuple[tuple[Item, ...], ...]


def state_layers(inputs: int, links: Sequence[Link]) -> dict[int, int]:
    """The layer of every state: 0 for inputs, else two beyond its furthest source.

    States that no link reaches stay in layer 0.
    """
    states = {state for link in links for state in (link.source, link.target)}
    layers = dict.fromkeys(sorted(states | set(range(inputs))), 0)
    for link in sorted(links, key=lambda link: link.target):
        # States are numbered in topological order, so one pass settles every layer.
        step = 2 if link.label is not None else 1
        layers[link.target] = max(layers[link.target], layers[link.source] + step)
    return layers


def _chains(
    links: Sequence[Link], layers: dict[int, int]
) -> tuple[tuple[Item, ...], ...]:
    chains = []
    for index, link in enumerate(links):
        first, last = layers[link.source], layers[link.target]
        between = [
            Item(layer, link=index, label=link.label is not None and layer == last - 1)
            for layer in range(first + 1, last)
        ]
        ends = (Item(first, state=link.source), Item(last, state=link.target))
        chains.append((ends[0], *between, ends[1]))
    return tuple(chains)


def crossings(
    upper: Sequence[Item], lower: Sequence[Item], pairs: Sequence[tuple[Item, Item]]
) -> int:
    """Number of crossings between two neighbouring layers in the given orders."""
    above = {item: index for index, item in enumerate(upper)}
    below = {item: index for index, item in enumerate(lower)}
    ends = [(above[a], below[b]) for a, b in pairs]
    return sum(
        (a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(ends, 2)
    )


class _Orders:
    """The layers' orders while crossings are being removed; the inputs stay put."""

    def __init__(self, chains: Sequence[Sequence[Item]], states: Sequence[Item]):
        items = dict.fromkeys([*states, *itertools.chain.from_iterable(chains)])
        depth = 1 + max(item.layer for item in items)
        self.layers: list[list[Item]] = [[] for _ in range(depth)]
        self.pairs: list[list[tuple[Item, Item]]] = [[] for _ in range(depth)]
        for item in items:
            self.layers[item.layer].append(item)
        for pair in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
            self.pairs[pair[0].layer].append(pair)

    def total(self) -> int:
        return sum(
            crossings(self.layers[i], self.layers[i + 1], self.pairs[i])
            for i in range(len(self.layers) - 1)
        )

    def around(self, layer: int) -> int:
        """Crossings on both sides of one layer."""
        return sum(
            crossings(self.layers[i], self.layers[i + 1], self.pairs[i])
            for i in (layer - 1, layer)
            if 0 <= i < len(self.layers) - 1
        )

    def sweep(self, forward: bool) -> None:
        """Orders each layer by the mean place of its neighbours in the one before."""
        count = len(self.layers)
        order = range(1, count) if forward else range(count - 2, 0, -1)
        for layer in order:
            other = layer - 1 if forward else layer + 1
            place = {item: i for i, item in enumerate(self.layers[other])}
            near: dict[Item, list[int]] = {item: [] for item in self.layers[layer]}
            for first, second in self.pairs[min(layer, other)]:
                here, there = (second, first) if forward else (first, second)
                near[here].append(place[there])
            now = {item: float(i) for i, item in enumerate(self.layers[layer])}
            mean = {
                item: sum(places) / len(places) if places else now[item]
                for item, places in near.items()
            }
            self.layers[layer].sort(key=lambda item: (mean[item], now[item]))

    def swap_neighbours(self) -> None:
        """Swaps neighbours as long as that removes a crossing."""
        better = True
        while better:
            better = False
            for index in range(1, len(self.layers)):
                layer = self.layers[index]
                for i in range(len(layer) - 1):
                    before = self.around(index)
                    layer[i], layer[i + 1] = layer[i + 1], layer[i]
                    if self.around(index) < before:
                        better = True
                    else:
                        layer[i], layer[i + 1] = layer[i + 1], layer[i]


def _order(
    chains: Sequence[Sequence[Item]], states: Sequence[Item]
) -> list[list[Item]]:
    orders = _Orders(chains, states)
    best, fewest = [list(layer) for layer in orders.layers], orders.total()
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        orders.sweep(forward=sweep % 2 == 0)
        orders.swap_neighbours()
        if orders.total() < fewest:
            best, fewest = [list(layer) for layer in orders.layers], orders.total()
    return best


def spread(
    wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]
) -> list[float]:
    """Positions nearest to `wanted` in weighted squares that keep order and gaps.

    `gaps[i]` is the least distance between items i and i + 1. Subtracting the summed
    gaps turns this into isotonic regression, which pooling neighbours solves exactly.
    """
    offsets = [0.0, *itertools.accumulate(gaps)]
    blocks: list[tuple[float, float, int]] = []
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        total, mass, size = weight * (want - offset), weight, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / mass:
            before, heavier, width = blocks.pop()
            total, mass, size = total + before, mass + heavier, size + width
        blocks.append((total, mass, size))
    flat = [total / mass for total, mass, size in blocks for _ in range(size)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _pull(first: Item, second: Item) -> float:
    """How strongly a link straightens: long runs of bends should not wobble."""
    return (1.0, 2.0, 8.0)[(first.state is None) + (second.state is None)]


def _straighten(
    chains: Sequence[Sequence[Item]],
    layers: Sequence[Sequence[Item]],
    position: dict[Item, float],
    extent: Callable[[Item], float],
    gap: float,
) -> None:
    """Puts the bends and the label of a link on one line where neighbours leave room.

    Takes the small steps out of long runs that the averaging leaves behind.
    """
    for chain in chains:
        run = chain[1:-1]
        if len(run) < 2:
            continue
        low, high = -math.inf, math.inf
        for item in run:
            layer = layers[item.layer]
            index = layer.index(item)
            if index > 0:
                other = layer[index - 1]
                room = (extent(other) + extent(item)) / 2 + gap
                low = max(low, position[other] + room)
            if index + 1 < len(layer):
                other = layer[index + 1]
                room = (extent(other) + extent(item)) / 2 + gap
                high = min(high, position[other] - room)
        mean = sum(position[item] for item in run) / len(run)
        if low <= high:
            position.update(dict.fromkeys(run, min(high, max(low, mean))))


def lay_out(
    inputs: int, links: Sequence[Link], size_across: dict[str, float], gap: float
) -> Layout:
    """Places every item; `size_across` has the extents of "state", "label", "bend".

    Positions are centres across the layers, the smallest extent starting at 0.
    """
    places = state_layers(inputs, links)
    states = [Item(layer, state=state) for state, layer in places.items()]
    chains = _chains(links, places)
    layers = _order(chains, states)

    def extent(item: Item) -> float:
        if item.state is not None:
            return size_across["state"]
        return size_across["label" if item.label else "bend"]

    near: dict[Item, list[tuple[float, Item]]] = {
        item: [] for layer in layers for item in layer
    }
    for first, second in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        near[first].append((_pull(first, second), second))
        near[second].append((_pull(first, second), first))
    position: dict[Item, float] = dict.fromkeys(near, 0.0)
    for sweep in range(8 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            weights = [sum(weight for weight, _ in near[item]) for item in layer]
            wanted = [
                sum(weight * position[n] for weight, n in near[item]) / total
                if total
                else position[item]
                for item, total in zip(layer, weights, strict=True)
            ]
            gaps = [
                (extent(a) + extent(b)) / 2 + gap for a, b in itertools.pairwise(layer)
            ]
            weights = [weight or 1.0 for weight in weights]
            places_across = spread(wanted, weights, gaps)
            position.update(zip(layer, places_across, strict=True))
    _straighten(chains, layers, position, extent, gap)
    start = min(at - extent(item) / 2 for item, at in position.items())
    return Layout(
        tuple(map(tuple, layers)),
        {item: at - start for item, at in position.items()},
        chains,
    )
