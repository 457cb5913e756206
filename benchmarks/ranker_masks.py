"""Masks of sets of rankers, from what each ranker alone says of every operation."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from benchmarks import tradeoff_run as run
from nas_jax import pruning
from nas_jax.pruning.selection import lowest
from nas_jax.spaces import NONE, Genotype, SearchSpace, SpaceMask

Operation = pruning.candidates.Operation
Parts = Mapping[Operation, Mapping[str, float]]
"""Each ranker's relative change, by operation."""


def members(name: str) -> tuple[str, ...]:
    """The proxies of a set."""
    return tuple(name.split("+"))


def score(study: run.Study, seed: int) -> Parts:
    """What every ranker of a study says of every operation that may go."""
    options = dict(
        proxies=study.proxies,
        channels=study.channels,
        layers=study.layers,
        batch_size=study.batch_size,
        repeats=study.repeats,
    )
    result = pruning.prune(
        SpaceMask.full(study.space),
        pruning.get_strategy("zero_one_shot", study.space, options),
        functools.partial(study.batch, seed),
        key=jax.random.key(seed),
        num_classes=study.images.num_classes,
        # As far as it goes, so that no operation goes without a score.
        target=pruning.Target(keep=1),
    )
    return {(o.cell, o.edge, o.operation): o.scores for o in result.operations}


def mask(
    study: run.Study, parts: Parts, proxies: Sequence[str], level: float
) -> SpaceMask:
    """What a set of rankers leaves at a level."""
    full = SpaceMask.full(study.space)
    scored = [operation for operation, scores in parts.items() if scores]
    base = full.drop(operation for operation in parts if operation not in scored)
    total = np.array([sum(parts[o][p] for p in proxies) for o in scored])
    goal = pruning.Target(level).keeps(full)
    return base.drop(lowest(base, scored, total, goal))


def shared(masks: Sequence[SpaceMask]) -> float:
    """Mean over pairs of masks of the share of kept operations that both keep."""
    # Sets, because two masks may have no operation of an edge in common.
    kept = [{o for o in m.space.operations() if m.keeps(*o)} for m in masks]
    pairs = [len(a & b) / len(a) for a, b in itertools.combinations(kept, 2)]
    return statistics.mean(pairs) if pairs else 1.0


def effects(
    space: SearchSpace, accuracies: Mapping[str, float], ridge: float
) -> dict[Operation, float]:
    """What an operation on an edge adds to accuracy, by ridge regression; not `none`.

    Accuracies are explained by which operations an architecture has on which edges;
    both are centred.

    Args:
        space: A space in whose genotypes edges may be absent, such as DARTS'.
        accuracies: By genotype, as its `str` is written.
        ridge: Penalty on squared effects.
    """
    order = [o for o in space.operations() if o[2] != NONE]
    present = np.zeros((len(accuracies), len(order)))
    for row, text in enumerate(accuracies):
        mask = Genotype.parse(space, text).mask()
        present[row] = [mask.keeps(*operation) for operation in order]
    x = present - present.mean(0)
    y = np.array(list(accuracies.values()))
    normal = x.T @ x + ridge * np.eye(len(order))
    found = np.linalg.solve(normal, x.T @ (y - y.mean()))
    return dict(zip(order, found.tolist(), strict=True))
