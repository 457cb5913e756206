"""From the weights of a search to one architecture: DARTS' rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nas_jax.errors import GenotypeError
from nas_jax.spaces.genotype import CellGenotype, Genotype
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.notation import Gene
from nas_jax.spaces.space import CellSpec

_TOLERANCE = 1e-3
"""How far a sum of probabilities may be from 1: more than rounding in float32."""


def discretise(mask: SpaceMask, probabilities: Mapping[str, np.ndarray]) -> Genotype:
    """The genotype of DARTS' rule (Liu et al. 2019, section 2.4).

    Every edge is as strong as its strongest kept operation other than `none`; every
    node keeps its `edges_per_node` strongest edges, each with that operation. Ties go
    to the lower edge index and to the operation that comes first in the space.

    A cell that keeps all its edges has the strongest kept operation of each, `none`
    included (NAS-Bench-201, Dong and Yang 2020).

    Args:
        mask: The operations that can be chosen.
        probabilities: Softmax of the alphas over what the mask keeps,
            `[edges, operations]` by cell name: from 0 to 1, 0 for what is pruned, and
            1 in sum over each edge, to three decimals.

    Raises:
        GenotypeError: On a missing cell, a wrong shape, or other values.
    """
    cells = []
    live = mask.arrays()
    for spec in mask.space.cells:
        if spec.name not in probabilities:
            raise GenotypeError(
                f"no probabilities of cell {spec.name!r}; given: {[*probabilities]}"
            )
        weights = np.asarray(probabilities[spec.name], np.float64)
        _check_probabilities(spec, live[spec.name], weights)
        genes: list[Gene] = []
        for node in spec.nodes:
            best: list[tuple[float, int, str]] = []
            for edge in spec.incoming(node):
                options = [
                    (-weights[edge, i], i, op)
                    for i, op in enumerate(spec.ops)
                    if op in spec.selectable and mask.keeps(spec.name, edge, op)
                ]
                if options:
                    strength, _, op = min(options)
                    best.append((strength, edge, op))
            if not spec.keeps_all_edges:
                best = sorted(best)[: spec.edges_per_node]
            genes += [(op, spec.edges[edge][0]) for _, edge, op in best]
        cells.append(CellGenotype(spec.name, tuple(genes), spec.output))
    return Genotype(mask.space, tuple(cells))


def _check_probabilities(spec: CellSpec, live: np.ndarray, values: np.ndarray) -> None:
    """Refuses what is no masked softmax, such as alphas: their order may differ."""
    if values.shape != live.shape:
        raise GenotypeError(
            f"probabilities of {spec.name!r} have shape {values.shape}; expected "
            f"{live.shape}"
        )
    if np.isnan(values).any():
        raise GenotypeError(f"probabilities of {spec.name!r} hold NaN")
    remedy = "give softmax(alphas) over what the mask keeps, as mixture_weights does"
    for edge, column in np.argwhere(
        (values < 0) | (values > np.where(live, 1, 0) + _TOLERANCE)
    ):
        op, value = spec.ops[column], values[edge, column]
        where = (
            f"the probability of {op!r} on edge {edge} of {spec.name!r} is {value:g}"
        )
        rule = "it must lie in [0, 1]"
        if not live[edge, column] and 0 <= value <= 1 + _TOLERANCE:
            rule = "the mask drops it"
        raise GenotypeError(f"{where}; {rule}: {remedy}")
    for edge, total in enumerate(values.sum(axis=1)):
        if abs(total - 1) > _TOLERANCE:
            raise GenotypeError(
                f"the probabilities of edge {edge} of {spec.name!r} have the sum "
                f"{total:g}; it must be 1: {remedy}"
            )
