"""Whether a search decided: how its genotype stands out from what chance gives.

A genotype always comes out, also of a search that learnt nothing. What is measured
here are log weights, the logarithm of a mixture weight less its mean over the edge:
where weights are a softmax of alphas, that is an alpha less what all alphas of its
edge have in common.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from nas_jax.spaces import SpaceMask

Weights = Mapping[str, np.ndarray]
"""Weight of each operation `[edges, operations]` by cell name, 0 where pruned."""

DEVIATIONS = 2.0
"""Standard deviations of a difference by which a gene must win. Of alphas that are
noise alone, 0.1% (eight operations) to 4% (two) win their edge by that much."""

_PARTS = 20
"""Most parts of a search that are compared."""

_SHORTEST = 5
"""Steps of the shortest part: an optimiser's momentum makes neighbouring steps alike,
which is no direction. At DARTS' beta of .5 it is gone after five."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """How far the alphas of a search went, against what chance alone would have done.

    Attributes:
        genes: Genes of the genotype that had an alternative.
        decided: Those that won it by more than DEVIATIONS standard deviations of the
            difference of two alphas that `noise` and `walk` together give.
        moved: Root mean square distance of an alpha from its start.
        noise: Standard deviation of the initial alphas.
        walk: Standard deviation that the chance of the batches gave an alpha.
        largest: Mean over the edges of the largest weight.
        even: The same if all operations of an edge had one weight.
    """

    genes: int
    decided: int
    moved: float
    noise: float
    walk: float
    largest: float
    even: float

    @property
    def is_noise(self) -> bool:
        """Whether half of the genes or more could as well have come out otherwise."""
        return 0 < self.genes >= 2 * self.decided


def decision(mask: SpaceMask, history: Sequence[tuple[int, Weights]]) -> Decision:
    """How a search decided, from its weights over time.

    Args:
        mask: The operations that were searched.
        history: `(step, weights)` before the first step, after the last, and in between
            the more the better: with nothing there all movement counts as chance.

    Raises:
        ValueError: Less than two entries, or steps that do not grow.
    """
    steps = np.array([step for step, _ in history])
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        raise ValueError(f"the history needs steps that grow, got {steps.tolist()}")
    last = history[-1][1]
    searched = [edge for edge in _edges(mask, last) if len(edge) > 1]
    free = sum(len(edge) - 1 for edge in searched)
    rows = np.stack([log_weights(mask, weights) for _, weights in history])
    noise = _deviation(rows[0], free)
    walk = chance(steps, rows, free)
    bar = DEVIATIONS * math.sqrt(2) * math.hypot(noise, walk)
    found = gaps(mask, last)
    return Decision(
        genes=len(found),
        decided=sum(gap > bar for gap in found),
        moved=_deviation(rows[-1] - rows[0], free),
        noise=noise,
        walk=walk,
        largest=statistics.fmean([edge.max() for edge in searched] or [1.0]),
        even=statistics.fmean([1 / len(edge) for edge in searched] or [1.0]),
    )


def log_weights(mask: SpaceMask, weights: Weights) -> np.ndarray:
    """Log weight of every kept operation less the mean over its edge `[kept]`."""
    logs = [_log(edge) for edge in _edges(mask, weights)]
    return np.concatenate([edge - edge.mean() for edge in logs])


def chance(steps: np.ndarray, rows: np.ndarray, free: int) -> float:
    """Standard deviation of a log weight that a walk without a direction has gone.

    The mean square successive difference (von Neumann et al. 1941, Ann. Math. Stat.
    12, 153) of the speeds in neighbouring parts of the search: a direction that is
    kept, or that changes slowly, cancels in it.

        walk^2 = T mean_i |v_i+1 - v_i|^2 / (1 / t_i + 1 / t_i+1)

    Args:
        steps: The step of each row, growing.
        rows: Log weights `[rows, kept]`.
        free: Independent log weights: kept operations less one for each edge.

    Returns:
        Of a single part, how far it went: nothing tells its direction from chance.
    """
    span = steps[-1] - steps[0]
    parts = min(_PARTS, max(1, span // _SHORTEST))
    ends = np.linspace(steps[0], steps[-1], parts + 1)
    at = np.unique(np.abs(steps[:, None] - ends).argmin(axis=0))
    length = np.diff(steps[at])
    speed = np.diff(rows[at], axis=0) / length[:, None]
    if len(length) == 1:
        return _deviation(rows[-1] - rows[0], free)
    spread = 1 / length[1:] + 1 / length[:-1]
    scaled = np.diff(speed, axis=0) / np.sqrt(spread)[:, None]
    return _deviation(scaled, free) * math.sqrt(span / (len(length) - 1))


def gaps(mask: SpaceMask, weights: Weights) -> list[float]:
    """By how much each gene of DARTS' rule won, in log weights; see `discretise`.

    A gene changes when another operation of its edge gets ahead, or another edge of
    its node where the node does not keep all: the nearer of the two counts. Genes that
    have neither are left out, and so is an edge with one operation: its weight is 1,
    and no alpha changes that.
    """
    found: list[float] = []
    for spec, node in [(c, node) for c in mask.space.cells for node in c.nodes]:
        edges = []
        for edge in spec.incoming(node):
            kept = mask.edge(spec.name, edge)
            options = [spec.ops.index(op) for op in kept if op in spec.selectable]
            if options:
                logs = _log(np.asarray(weights[spec.name], np.float64)[edge, options])
                edges.append((sorted(logs.tolist(), reverse=True), len(kept) > 1))
        edges.sort(reverse=True)
        keep = len(edges) if spec.keeps_all_edges else spec.num_selected(node)
        rivals = [logs[0] for logs, _ in edges[keep : keep + 1]]
        found += [
            logs[0] - max([*logs[1:2], *rivals])
            for logs, searched in edges[:keep]
            if searched and (len(logs) > 1 or rivals)
        ]
    return found


def _edges(mask: SpaceMask, weights: Weights) -> list[np.ndarray]:
    """The weights of the kept operations of each edge, of all cells."""
    return [
        np.asarray(weights[name], np.float64)[edge, kept]
        for name, live in mask.arrays().items()
        for edge, kept in enumerate(live)
    ]


def _log(weights: np.ndarray) -> np.ndarray:
    # A weight that float32 rounds to 0 is as far down as a weight can be.
    return np.log(np.maximum(weights, np.finfo(np.float32).tiny))


def _deviation(values: np.ndarray, free: int) -> float:
    return math.sqrt(float((values**2).sum()) / free) if free else 0.0
