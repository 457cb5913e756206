"""Zero-shot pruning of a search space (arXiv 2505.13586, "Zero-One-Shot")."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.networks import Supernet
from nas_jax.proxies import Batch, get_proxy
from nas_jax.pruning.candidates import CandidateScorer
from nas_jax.pruning.importance import (
    Operation,
    candidate_operations,
    leave_one_out,
    relative_importance,
)
from nas_jax.spaces import NONE, SpaceMask

DEFAULT_PROXIES = ("nwot", "synflow", "snip", "grad_norm", "params")
NEVER_SELECTED = "never selected at discretisation"


@dataclasses.dataclass(frozen=True)
class ScoredOperation:
    """Why an operation was kept or dropped.

    Attributes:
        cell: Cell name.
        edge: Edge index.
        source: State at the edge's start.
        target: Node at the edge's end.
        operation: Operation name.
        kept: Whether the mask keeps it.
        score: Importance, the sum over proxies, mean over repeats; None if unscored.
        score_std: Standard deviation of the importance over repeats.
        scores: Relative change of each proxy, mean over repeats.
        reason: Why it has no score; empty where it has one.
    """

    cell: str
    edge: int
    source: int
    target: int
    operation: str
    kept: bool
    score: float | None
    score_std: float | None
    scores: dict[str, float]
    reason: str


@dataclasses.dataclass(frozen=True)
class PruneResult:
    """What pruning found and what it cost.

    Attributes:
        mask: The operations that are kept.
        operations: One entry for each operation of the space, in canonical order.
        proxies: Names of the proxies.
        compile_seconds: Seconds to compile the scoring program.
        score_seconds: Seconds to score all candidates, all repeats.
        peak_memory_bytes: Memory of the scoring program; 0 where nothing was scored.
    """

    mask: SpaceMask
    operations: tuple[ScoredOperation, ...]
    proxies: tuple[str, ...]
    compile_seconds: float
    score_seconds: float
    peak_memory_bytes: int


def operations_to_keep(num_operations: int, level: float) -> int:
    """Operations that an edge keeps at a pruning level: floor, at least one.

    Raises:
        ConfigError: If the level is not in [0, 1).
    """
    if not 0.0 <= level < 1.0:
        raise ConfigError(
            f"pruning level {level} must be at least 0 and below 1; 0.5 keeps half of "
            "the operations"
        )
    # 8 * (1 - 0.875) is 1.0000000000000002 in some orders of evaluation.
    return max(1, math.floor(round(num_operations * (1.0 - level), 9)))


def prune(
    mask: SpaceMask,
    batches: Callable[[int], Batch],
    *,
    key: jax.Array,
    num_classes: int,
    level: float = 0.5,
    proxies: Sequence[str] = DEFAULT_PROXIES,
    channels: int = 16,
    layers: int = 8,
    repeats: int = 3,
    candidates_at_once: int = 8,
    progress: Callable[[int], Any] | None = None,
) -> PruneResult:
    """Keep the most important operations of every edge; one round, leave-one-out.

        s_e = sum over proxies r of (r(N) - r(N \\ e)) / |r(N)|

    with N the untrained supernet of all candidates. `none` goes first and without a
    score: discretisation never selects it. Then the operations with the lowest mean
    importance over the repeats go, edge by edge; of equal ones the later goes first.

    Args:
        mask: The space, or what an earlier mask keeps of it.
        batches: Gives the batch of a repeat; all must have the same shapes.
        key: Draws the initial weights, anew for each repeat.
        num_classes: Number of classes.
        level: The paper's xi, the fraction of an edge's operations to remove.
        proxies: Names of registered proxies.
        channels: Channels of the scored supernet.
        layers: Cells of the scored supernet.
        repeats: Initialisations and batches that an importance is averaged over.
        candidates_at_once: Candidates computed side by side.
        progress: Called with the number of finished repeats.

    Raises:
        ConfigError: On an unknown proxy, a level outside [0, 1), or a proxy that is
            not finite on the whole supernet.
    """
    if not proxies or len(set(proxies)) != len(proxies) or repeats < 1:
        raise ConfigError(
            f"proxies {tuple(proxies)} and repeats {repeats}: pruning needs one or "
            "more different proxies and at least one repeat"
        )
    for name in proxies:
        get_proxy(name)
    keep = {c.name: operations_to_keep(len(c.ops), level) for c in mask.space.cells}
    base = mask.drop(
        (cell, edge, op)
        for cell, edge, op in candidate_operations(mask)
        if op == NONE and len(mask.edge(cell, edge)) > keep[cell]
    )
    operations = [
        (cell, edge, op)
        for cell, edge, op in candidate_operations(base)
        if len(base.edge(cell, edge)) > keep[cell]
    ]
    scorer: CandidateScorer | None = None
    seconds = 0.0
    importance = np.zeros((1, 0, len(proxies)))
    if operations:
        live = leave_one_out(base, operations)
        rows = []
        start = time.perf_counter()
        for repeat in range(repeats):
            batch = batches(repeat)
            if scorer is None:
                # The smallest program; proxies that need activations run by waves.
                network = Supernet(base, channels, layers, num_classes, remat="op")
                _, height, width, depth = batch.images.shape
                shape = (height, width, depth)
                scorer = CandidateScorer(network, proxies, shape, candidates_at_once)
            scores = scorer(jax.random.fold_in(key, repeat), batch, live)
            _check_whole(scores[0], proxies)
            rows.append(relative_importance(scores[0], scores[1:]))
            if progress is not None:
                progress(repeat + 1)
        importance = np.stack(rows)
        assert scorer is not None
        seconds = time.perf_counter() - start - scorer.compile_seconds
    dropped = _lowest(base, operations, importance, keep)
    pruned = base.drop(dropped)
    return PruneResult(
        pruned,
        _explain(mask, pruned, operations, importance, proxies),
        tuple(proxies),
        scorer.compile_seconds if scorer else 0.0,
        seconds,
        scorer.memory.peak_bytes if scorer and scorer.memory else 0,
    )


def _check_whole(whole: np.ndarray, proxies: Sequence[str]) -> None:
    for name, value in zip(proxies, whole, strict=True):
        if not np.isfinite(value) or value == 0:
            raise ConfigError(
                f"proxy {name!r} is {value} on the whole supernet, so it cannot rank "
                "operations; choose other proxies, a batch without repeated images, "
                "or a smaller network"
            )


def _lowest(
    mask: SpaceMask,
    operations: Sequence[Operation],
    importance: np.ndarray,
    keep: dict[str, int],
) -> list[Operation]:
    """The operations to drop: on each edge the lowest, until `keep` are left."""
    # A candidate without a finite score is never kept for its score.
    score = np.nan_to_num(importance.sum(-1).mean(0), nan=-np.inf)
    dropped = []
    for cell in mask.space.cells:
        for edge in range(len(cell.edges)):
            ranked = sorted(
                (score[i], -cell.ops.index(op), (name, e, op))
                for i, (name, e, op) in enumerate(operations)
                if (name, e) == (cell.name, edge)
            )
            excess = len(mask.edge(cell.name, edge)) - keep[cell.name]
            dropped += [operation for *_, operation in ranked[: max(0, excess)]]
    return dropped


def _explain(
    mask: SpaceMask,
    pruned: SpaceMask,
    operations: Sequence[Operation],
    importance: np.ndarray,
    proxies: Sequence[str],
) -> tuple[ScoredOperation, ...]:
    index = {operation: i for i, operation in enumerate(operations)}
    rows = []
    for cell, edge, op in mask.space.operations():
        source, target = mask.space.cell(cell).edges[edge]
        i = index.get((cell, edge, op))
        kept = pruned.keeps(cell, edge, op)
        if i is not None:
            total = importance[:, i].sum(-1)
            parts = importance[:, i].mean(0).tolist()
            score, std, reason = float(total.mean()), float(total.std()), ""
            scores = dict(zip(proxies, parts, strict=True))
        else:
            score, std, scores = None, None, {}
            reason = "the edge keeps all that it has"
            if not mask.keeps(cell, edge, op):
                reason = "not in the mask that pruning started from"
            elif not kept:
                reason = NEVER_SELECTED
        rows.append(
            ScoredOperation(
                cell, edge, source, target, op, kept, score, std, scores, reason
            )
        )
    return tuple(rows)
