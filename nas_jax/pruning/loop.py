"""The pruning loop: score, drop, and again, until the target is met."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from nas_jax.errors import ConfigError
from nas_jax.pruning.candidates import Live, removable
from nas_jax.pruning.rankers import GetBatch, Ranker, RankerScores
from nas_jax.pruning.result import (
    PruneResult,
    ScoredRound,
    explain,
    warnings_of,
    warnings_of_loss,
)
from nas_jax.pruning.selection import Target, lowest, shortest_that_fits
from nas_jax.pruning.strategy import Round, Strategy
from nas_jax.spaces import NONE, SpaceMask

CHUNK = 16
"""Most candidates in a call of the compiled program: what a killed run loses."""
HALF = Target()
"""The paper's level: half of each edge's operations."""


class Journal(Protocol):
    """Keeps scores, so that a run that was killed goes on where it was.

    `candidates` is a SHA-256 of rankers, key, batch and what is alive: it tells the
    chunks of one pruning apart, which a journal is for.
    """

    def read(self, candidates: str) -> tuple[np.ndarray, float] | None:
        """Scores `[chunk, rankers]` and seconds of a chunk; None if not scored yet."""

    def write(self, candidates: str, scores: np.ndarray, seconds: float) -> None:
        """Keeps the scores of a chunk."""


def prune(
    mask: SpaceMask,
    strategy: Strategy,
    batches: GetBatch,
    *,
    key: jax.Array,
    num_classes: int,
    target: Target = HALF,
    candidates_at_once: int = 1,
    devices: Sequence[jax.Device] | None = None,
    journal: Journal | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> PruneResult:
    """Prune a search space, before any training.

    `none` goes first and without a score where discretisation never selects it. All
    candidates of all rounds and repeats go through the same compiled programs, in
    chunks of one size.

    Args:
        mask: The space, or what an earlier mask keeps of it.
        strategy: How operations are chosen, see `get_strategy`.
        batches: Gives images and labels by number and batch size.
        key: Draws the initial weights, anew for each repeat, and random choices.
        num_classes: Number of classes.
        target: Where to stop.
        candidates_at_once: Candidates that a device computes side by side.
        devices: Which share the candidates; None is all that there are.
        journal: Where scores are kept and found again.
        progress: Called with the numbers of scored candidates and of all.

    Raises:
        ConfigError: On an unknown proxy, a target out of range, a budget that nothing
            meets, a proxy that is not finite on the whole network, or a journal of
            another pruning.
    """
    names = [ranker.name for ranker in strategy.rankers]
    keep = target.keeps(mask)
    base = mask.drop(
        (cell, edge, NONE)
        for cell, edge in keep
        if NONE not in mask.space.cell(cell).selectable
        and mask.keeps(cell, edge, NONE)
        and len(mask.edge(cell, edge)) > keep[cell, edge]
    )
    seed = [int(word) for word in jax.random.key_data(key).ravel()]
    schedule = strategy.schedule(base, keep, np.random.default_rng(seed))
    step_bytes = functools.cache(target.step_bytes or (lambda mask: 0))
    budget = target.budget_bytes or 0
    if target.step_bytes and step_bytes(base) <= budget:
        schedule = []
    counts = _candidates(base, strategy, schedule)
    scorer = RankerScores(
        strategy.rankers,
        base,
        num_classes,
        chunk=max(1, min(CHUNK, max(counts, default=1))),
        at_once=candidates_at_once,
        devices=devices,
    )
    total = sum(counts) * strategy.repeats
    scoring = _Scoring(strategy, scorer, batches, key, total, journal, progress)
    left, warnings = base, list[str]()
    finished: list[ScoredRound] = []
    for number, goal in enumerate(schedule):
        operations = removable(left, goal)
        rng = np.random.default_rng([*seed, number])
        score = functools.partial(scoring, number)
        importance = strategy.importance(left, operations, score, rng)
        dropped = lowest(
            left, operations, importance.total, goal, target.min_parametric
        )
        fits = step_bytes(left.drop(dropped)) <= budget
        if target.step_bytes and (fits or number + 1 == len(schedule)):

            def needs(count: int, before: Any = left, order: Any = dropped) -> int:
                return step_bytes(before.drop(order[:count]))

            dropped = dropped[: shortest_that_fits(len(dropped), needs, budget)]
        left = left.drop(dropped)
        finished.append(ScoredRound(operations, importance, left))
        warnings += warnings_of(finished[-1], names, number + 1)
        if target.step_bytes and fits:
            break
    if target.step_bytes and step_bytes(left) > budget:
        raise ConfigError(
            f"the search step needs {step_bytes(left):,} bytes with the "
            f"{left.num_kept} operations that are left, more than the budget of "
            f"{budget:,}; allow more, a smaller batch, fewer channels, or remat"
        )
    return PruneResult(
        mask,
        left,
        explain(mask, left, finished, names),
        strategy.name,
        tuple(names),
        len(finished),
        scoring.done,
        # First: without it, nobody need read the others.
        (*warnings_of_loss(mask, left, target), *warnings),
        step_bytes(left) if target.step_bytes else None,
        scorer.compile_seconds,
        scoring.seconds,
        scorer.peak_bytes,
    )


def _candidates(
    mask: SpaceMask, strategy: Strategy, schedule: Sequence[Round]
) -> list[int]:
    """Candidates of each round; which operations go does not change their number."""
    left = {edge: len(mask.edge(*edge)) for goal in schedule for edge in goal}
    counts = []
    for goal in schedule:
        counts.append(strategy.count(sum(left[e] for e in goal if left[e] > goal[e])))
        left |= {e: min(left[e], keep) for e, keep in goal.items()}
    return counts


@dataclasses.dataclass
class _Scoring:
    """Scores of whole rounds, chunk by chunk.

    Attributes:
        total: Candidates of all rounds and repeats.
        done: Candidates scored, padding left out.
        seconds: Seconds of scoring, with those that a journal tells of.
    """

    strategy: Strategy
    scorer: RankerScores
    batches: GetBatch
    key: jax.Array
    total: int
    journal: Journal | None
    progress: Callable[[int, int], Any] | None
    done: int = 0
    seconds: float = 0.0

    def __call__(
        self, number: int, live: Live, *, whole_first: bool = False
    ) -> np.ndarray:
        """Scores `[repeats, candidates, rankers]` of a round, see `Score`.

        Raises:
            ConfigError: A proxy has no finite score of the whole network.
        """
        count, chunk = len(next(iter(live.values()))), self.scorer.chunk
        repeats, rankers = self.strategy.repeats, self.strategy.rankers
        scores = np.empty((repeats, count, len(rankers)))
        for repeat in range(repeats):
            for start in range(0, count, chunk):
                # The last chunk is filled up with the first candidate.
                index = np.arange(start, start + chunk)
                index[index >= count] = 0
                part = {name: array[index] for name, array in live.items()}
                rows = min(chunk, count - start)
                found = self._scored(number * repeats + repeat, repeat, part)[:rows]
                scores[repeat, start : start + rows] = found
                if start == 0 and whole_first:
                    _check_whole(found[0], rankers)
                self.done += rows
                if self.progress is not None:
                    self.progress(self.done, self.total)
        return scores

    def _scored(self, batch: int, repeat: int, live: Live) -> np.ndarray:
        # What a row of the journal stands for is known by its content: its place
        # would say nothing once a row is damaged or doubled.
        candidates = self._digest(batch, repeat, live)
        known = self.journal.read(candidates) if self.journal else None
        shape = (self.scorer.chunk, len(self.strategy.rankers))
        if known is None or known[0].shape != shape:
            before, start = self.scorer.compile_seconds, time.perf_counter()
            key = jax.random.fold_in(self.key, repeat)
            scores = self.scorer(key, self.batches, batch, live)
            compiling = self.scorer.compile_seconds - before
            known = scores, time.perf_counter() - start - compiling
            if self.journal is not None:
                self.journal.write(candidates, *known)
        self.seconds += known[1]
        return known[0]

    def _digest(self, batch: int, repeat: int, live: Live) -> str:
        """SHA-256 of all that tells the chunks of one pruning apart, and more."""
        key = jax.random.key_data(self.key).tolist()
        rankers = [(r.name, r.batch_size, r.norm) for r in self.strategy.rankers]
        hashed = hashlib.sha256(repr((key, rankers, batch, repeat)).encode())
        for name, array in sorted(live.items()):
            hashed.update(f"{name}{array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()


def _check_whole(whole: np.ndarray, rankers: Sequence[Ranker]) -> None:
    for ranker, value in zip(rankers, whole, strict=True):
        if not np.isfinite(value) or value == 0:
            why = ""
            if ranker.scored_by.compares_images:
                why = " (also where it cannot tell two images of a batch apart)"
            raise ConfigError(
                f"proxy {ranker.name!r} is {value} on the whole supernet{why}, so it "
                "cannot rank operations; rank by others (--config.prune.proxies), take "
                "fewer images (--config.prune.batch_size) or a smaller network "
                "(--config.prune.layers)"
            )
