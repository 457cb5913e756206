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


Chain = tuple[Item, ...]


@dataclass(frozen=True)
class Layout:
    """Items by layer in their order across, their positions, each link's chain."""

    layers: tuple[Chain, ...]
    position: dict[Item, float]
    chains: tuple[Chain, ...]


def _state_layers(inputs: int, links: Sequence[Link]) -> dict[int, int]:
    """0 for inputs and states that no link reaches, else two beyond the last source."""
    states = {state for link in links for state in (link.source, link.target)}
    layers = dict.fromkeys(sorted(states | set(range(inputs))), 0)
    for link in sorted(links, key=lambda link: link.target):
        # States are numbered in topological order, so one pass settles every layer.
        step = 2 if link.label is not None else 1
        layers[link.target] = max(layers[link.target], layers[link.source] + step)
    return layers


def _chain(index: int, link: Link, places: dict[int, int]) -> Chain:
    first, last = places[link.source], places[link.target]
    labelled = link.label is not None
    between = (
        Item(layer, link=index, label=labelled and layer == last - 1)
        for layer in range(first + 1, last)
    )
    return (Item(first, state=link.source), *between, Item(last, state=link.target))


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

    def __init__(self, chains: Sequence[Chain], states: Sequence[Item]):
        items = dict.fromkeys([*states, *itertools.chain.from_iterable(chains)])
        depth = 1 + max(item.layer for item in items)
        self.layers: list[list[Item]] = [[] for _ in range(depth)]
        self.pairs: list[list[tuple[Item, Item]]] = [[] for _ in range(depth)]
        for item in items:
            self.layers[item.layer].append(item)
        for pair in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
            self.pairs[pair[0].layer].append(pair)

    def below(self, *layers: int) -> int:
        """Crossings between each of these layers and the next one."""
        return sum(
            crossings(self.layers[i], self.layers[i + 1], self.pairs[i])
            for i in layers
            if 0 <= i < len(self.layers) - 1
        )

    def sweep(self, forward: bool) -> None:
        """Orders each layer by the mean place of its neighbours in the one before."""
        count = len(self.layers)
        for layer in range(1, count) if forward else range(count - 2, 0, -1):
            other = layer - 1 if forward else layer + 1
            place = {item: i for i, item in enumerate(self.layers[other])}
            now = {item: i for i, item in enumerate(self.layers[layer])}
            near: dict[Item, list[int]] = {item: [] for item in now}
            for first, second in self.pairs[min(layer, other)]:
                here, there = (second, first) if forward else (first, second)
                near[here].append(place[there])
            mean = {i: sum(at) / len(at) if at else now[i] for i, at in near.items()}
            self.layers[layer].sort(key=lambda item: (mean[item], now[item]))

    def swap_neighbours(self) -> None:
        """Swaps neighbours as long as that removes a crossing."""
        better = True
        while better:
            better = False
            for index, layer in enumerate(self.layers[1:], start=1):
                for i in range(len(layer) - 1):
                    before = self.below(index - 1, index)
                    layer[i], layer[i + 1] = layer[i + 1], layer[i]
                    if self.below(index - 1, index) < before:
                        better = True
                    else:
                        layer[i], layer[i + 1] = layer[i + 1], layer[i]

    def best(self) -> tuple[Chain, ...]:
        """The layers in the order of fewest crossings that some sweeps find."""
        whole = range(len(self.layers))
        best, fewest = tuple(map(tuple, self.layers)), self.below(*whole)
        for sweep in range(_SWEEPS):
            if fewest == 0:
                break
            self.sweep(forward=sweep % 2 == 0)
            self.swap_neighbours()
            if self.below(*whole) < fewest:
                best, fewest = tuple(map(tuple, self.layers)), self.below(*whole)
        return best


def _spread(
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


def _straighten(
    chains: Sequence[Chain],
    layers: Sequence[Chain],
    position: dict[Item, float],
    room: Callable[[Item, Item], float],
) -> None:
    """Puts the bends and the label of a link on one line where neighbours leave room.

    Takes the small steps out of long runs that the averaging leaves behind.
    """
    for run in (chain[1:-1] for chain in chains):
        if len(run) < 2:
            continue
        low, high = -math.inf, math.inf
        for item in run:
            for first, second in itertools.pairwise(layers[item.layer]):
                if second == item:
                    low = max(low, position[first] + room(first, second))
                if first == item:
                    high = min(high, position[second] - room(first, second))
        mean = sum(position[item] for item in run) / len(run)
        if low <= high:
            position.update(dict.fromkeys(run, min(high, max(low, mean))))


def lay_out(
    inputs: int, links: Sequence[Link], size_across: dict[str, float], gap: float
) -> Layout:
    """Places every item; `size_across` has the extents of "state", "label", "bend".

    Positions are centres across the layers, the smallest extent starting at 0.
    """
    places = _state_layers(inputs, links)
    chains = tuple(_chain(index, link, places) for index, link in enumerate(links))
    states = [Item(layer, state=state) for state, layer in places.items()]
    layers = _Orders(chains, states).best()

    def extent(item: Item) -> float:
        if item.state is not None:
            return size_across["state"]
        return size_across["label" if item.label else "bend"]

    def room(first: Item, second: Item) -> float:
        return (extent(first) + extent(second)) / 2 + gap

    near: dict[Item, list[tuple[float, Item]]] = {
        item: [] for layer in layers for item in layer
    }
    for first, second in itertools.chain.from_iterable(map(itertools.pairwise, chains)):
        # The further from states, the straighter: long runs should not wobble.
        pull = (1.0, 2.0, 8.0)[(first.state is None) + (second.state is None)]
        near[first].append((pull, second))
        near[second].append((pull, first))
    position: dict[Item, float] = dict.fromkeys(near, 0.0)
    for sweep in range(8 * _SWEEPS):
        before = dict(position)
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            weights = [sum(weight for weight, _ in near[item]) for item in layer]
            wanted = [
                sum(weight * position[n] for weight, n in near[item]) / total
                if total
                else position[item]
                for item, total in zip(layer, weights, strict=True)
            ]
            gaps = [room(a, b) for a, b in itertools.pairwise(layer)]
            found = _spread(wanted, [weight or 1.0 for weight in weights], gaps)
            position.update(zip(layer, found, strict=True))
        if sweep and all(abs(position[i] - before[i]) < 0.02 for i in position):
            break
    _straighten(chains, layers, position, room)
    start = min(at - extent(item) / 2 for item, at in position.items())
    moved = {item: at - start for item, at in position.items()}
    return Layout(layers, moved, chains)
