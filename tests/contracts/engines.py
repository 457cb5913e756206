"""One network by every engine, with the same weights: what the contracts compare."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks import (
    Architectures,
    Candidates,
    Observed,
    Size,
    abstract_variables,
    family_of,
)
from nas_jax.networks.darts.stack import places
from nas_jax.networks.engines.plan import CellPlan, plan_genotype, plan_supernet
from nas_jax.spaces import NONE, Genotype, SearchSpace, SpaceMask

FAST = {"xla_backend_optimization_level": 0}
SIZE = Size(2, 3)
CLASSES = 3
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 2)), jnp.float32)


def weights_by_edge(shape: tuple[int, ...], *place: Any) -> np.ndarray:
    """Weights that depend on their place in the network alone."""
    seed = np.frombuffer(repr(place).encode(), np.uint8).tolist()
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def only(genotype: Genotype) -> SpaceMask:
    """The mask of an architecture's operations; `none` on all other edges."""
    arrays = {}
    for spec, cell in zip(genotype.space.cells, genotype.cells, strict=True):
        kept = np.zeros((len(spec.edges), len(spec.ops)), bool)
        for node, (op, source) in zip(spec.gene_nodes, cell.genes, strict=True):
            kept[spec.edges.index((source, node)), spec.ops.index(op)] = True
        kept[~kept.any(1), spec.ops.index(NONE)] = True
        arrays[spec.name] = kept
    return SpaceMask.from_arrays(genotype.space, arrays)


def cells_of(space: SearchSpace, size: Size) -> dict[str, tuple[str, bool, int]]:
    """Cell of the space, whether it halves, and repeats, by name of its parameters."""
    if family_of(space).stages > 1:
        name = space.cells[0].name
        return {f"stage_{stage}": (name, False, size.cells) for stage in range(3)}
    return {
        f"cell_{index}": (place.name, place.reduction, 0)
        for index, place in enumerate(places(*size))
    }


def fill(space: SearchSpace, specs: Any, plans: dict[str, CellPlan]) -> Any:
    """Values for a network whose cells stack operations as plans say."""
    cells = cells_of(space, SIZE)

    def value(path: Any, spec: Any) -> jax.Array:
        head, *names = [key.key for key in path]
        if names and names[-1] in ("scale", "shift", "mean", "variance"):
            # Nothing but what a network without such factors has.
            constant = float(names[-1] in ("scale", "variance"))
            return jnp.full(spec.shape, constant, jnp.float32)
        if head in cells and names[0] in plans[head].parametric:
            repeats = cells[head][2]
            rows = plans[head].rows(names[0])
            shape = spec.shape[1 + bool(repeats) :]
            turns = [
                np.stack(
                    [
                        weights_by_edge(shape, head, turn, o.source, o.target, *names)
                        for o in rows
                    ]
                )
                for turn in range(repeats or 1)
            ]
            return jnp.asarray(np.stack(turns) if repeats else turns[0])
        return jnp.asarray(weights_by_edge(spec.shape, head, *names))

    return jax.tree_util.tree_map_with_path(value, specs)


def supernet_plans(mask: SpaceMask) -> dict[str, CellPlan]:
    """Plans of a supernet's cells."""
    cells = cells_of(mask.space, SIZE)
    return {
        n: plan_supernet(mask, cell, halves) for n, (cell, halves, _) in cells.items()
    }


def genotype_plans(genotype: Genotype) -> dict[str, CellPlan]:
    """Plans of a discrete network's cells."""
    by_name = {cell.name: cell for cell in genotype.cells}
    return {
        n: plan_genotype(genotype.space.cell(cell), by_name[cell], halves)
        for n, (cell, halves, _) in cells_of(genotype.space, SIZE).items()
    }


def coded_params(network: Architectures, genotype: Genotype) -> Any:
    """Weights of all genes, where a genotype's own are those by edge."""
    space = network.space
    module = family_of(space).coded(space, SIZE, CLASSES)
    specs = abstract_variables(module, IMAGES)["params"]
    cells = cells_of(space, SIZE)
    genes = {c.name: c.genes for c in genotype.canonical().cells}

    def value(path: Any, spec: Any) -> jax.Array:
        head, *names = [key.key for key in path]
        if names and names[-1] in ("scale", "shift"):
            return jnp.full(spec.shape, float(names[-1] == "scale"), jnp.float32)
        if head in cells and names[0] in space.cell(cells[head][0]).selectable:
            cell, _, repeats = cells[head]
            nodes = space.cell(cell).gene_nodes
            shape = spec.shape[1 + bool(repeats) :]
            turns = [
                np.stack(
                    [
                        weights_by_edge(shape, head, turn, source, node, *names)
                        for node, (_, source) in zip(nodes, genes[cell], strict=True)
                    ]
                )
                for turn in range(repeats or 1)
            ]
            return jnp.asarray(np.stack(turns) if repeats else turns[0])
        return jnp.asarray(weights_by_edge(spec.shape, head, *names))

    return jax.tree_util.tree_map_with_path(value, specs)


class Everywhere:
    """One architecture by every engine, each as a function of its own parameters.

    Attributes:
        candidates: The supernet of the architecture's operations.
        architectures: The networks of all architectures.
        codes: The architecture's codes.
    """

    def __init__(self, genotype: Genotype) -> None:
        self.genotype, self.mask = genotype, only(genotype)
        space = genotype.space
        self.candidates = Candidates(self.mask, SIZE, CLASSES)
        self.architectures = Architectures(space, SIZE, CLASSES)
        codes = self.architectures.encode([genotype])
        self.codes = {name: jnp.asarray(rows[0]) for name, rows in codes.items()}
        family = family_of(space)
        specs = abstract_variables(family.supernet(self.mask, SIZE, CLASSES), IMAGES)
        self.supernet_params = fill(space, specs["params"], supernet_plans(self.mask))
        self.coded_params = coded_params(self.architectures, genotype)
        self.live = {n: a.astype(float) for n, a in self.mask.arrays().items()}

    @functools.cached_property
    def coded(self) -> Observed:
        """What the coded network tells."""
        run = functools.partial(self.architectures.observe, norm="batch")
        jitted = jax.jit(run, compiler_options=FAST, static_argnames="norm")
        return jitted(self.coded_params, self.codes, IMAGES)

    @functools.cached_property
    def waves(self) -> Observed:
        """What the supernet tells."""

        def run(params: Any) -> Observed:
            return self.candidates.observe(params, self.live, IMAGES, "batch")

        return jax.jit(run, compiler_options=FAST)(self.supernet_params)


def repeated(pairs: Any) -> list[np.ndarray]:
    """Every row as often as its count says."""
    return [
        np.asarray(row)
        for rows, counts in pairs
        for row, count in zip(rows, counts, strict=True)
        for _ in range(int(count))
    ]


def assert_same_arrays(actual: list[Any], expected: list[Any]) -> None:
    """The same arrays, in any order."""

    def ordered(arrays: list[Any]) -> list[np.ndarray]:
        # A plain sum would not tell normalised arrays apart.
        def key(array: np.ndarray) -> Any:
            return array.shape, float(array.ravel() @ np.cos(np.arange(array.size)))

        return sorted(map(np.asarray, arrays), key=key)

    assert len(actual) == len(expected)
    for a, b in zip(ordered(actual), ordered(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
