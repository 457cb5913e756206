from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from nas_jax.config import config_fields
from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch
from nas_jax.pruning import PruneResult, Target, operations_to_keep
from nas_jax.pruning.result import NEVER_SELECTED
from nas_jax.spaces import NONE
from tests.pruning.handmade import (
    CONVS,
    FULL,
    LAYERS,
    PLACES,
    SMALL,
    SPACE,
    WORTH,
    a_batch,
    best,
    no_batch,
    register_all,
    run,
)


@pytest.fixture(scope="module", autouse=True)
def proxies(register: Callable[..., None], worth_proxy: Callable[..., Any]) -> None:
    register_all(register, worth_proxy)


@pytest.fixture(scope="module")
def by_worth(proxies: None) -> PruneResult:
    return run(FULL, ("worth",))


def test_operations_to_keep_rounds_down_and_keeps_one() -> None:
    levels = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 0.99)
    assert [operations_to_keep(8, level) for level in levels] == [8, 6, 4, 3, 2, 1, 1]
    assert operations_to_keep(5, 0.5) == 2
    assert operations_to_keep(7, 0.3) == 4
    # 10 * (1 - 0.9) is 0.9999999999999998 in floating point.
    assert operations_to_keep(10, 0.9) == 1
    assert operations_to_keep(100, 0.9) == 10
    assert operations_to_keep(1, 0.5) == 1


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_level_outside_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="pruning level .* below 1"):
        run(FULL, ("worth",), level=level)


def test_the_most_important_operations_are_kept(by_worth: PruneResult) -> None:
    # Half of five operations is two, and `none` is not one of them.
    for cell in SPACE.cells:
        for edge in range(5):
            assert by_worth.mask.edge(cell.name, edge) == best(
                cell.name, edge, CONVS, 2
            )
    assert by_worth.mask.kept_fraction == 2 / 5
    assert (by_worth.strategy, by_worth.proxies) == ("zero_one_shot", ("worth",))
    assert (by_worth.rounds, by_worth.candidates) == (1, 1 + 2 * 5 * 4)
    assert (by_worth.warnings, by_worth.step_bytes) == ((), None)
    assert by_worth.compile_seconds > 0 and by_worth.score_seconds > 0
    assert by_worth.peak_memory_bytes > 0


def test_rows_are_complete_and_in_canonical_order(by_worth: PruneResult) -> None:
    rows = by_worth.operations
    assert [(r.cell, r.edge, r.operation) for r in rows] == list(SPACE.operations())
    total = 100 + sum(PLACES[c] * WORTH[c][:, 1:].sum() for c in PLACES)
    for row in rows:
        assert (row.source, row.target) == SPACE.cell(row.cell).edges[row.edge]
        assert row.kept == by_worth.mask.keeps(row.cell, row.edge, row.operation)
        if row.operation == NONE:
            assert (row.kept, row.round) == (False, 0)
            assert row.score is row.score_std is row.margin is None
            assert row.scores == row.scores_std == {}
            assert row.reason == NEVER_SELECTED
            continue
        column = SPACE.cell(row.cell).ops.index(row.operation)
        expected = PLACES[row.cell] * WORTH[row.cell][row.edge, column] / total
        assert row.score == pytest.approx(expected, rel=1e-3)
        assert row.scores == {"worth": row.score}
        assert (row.score_std, row.round, row.reason) == (0.0, 1, "")
        assert row.scores_std == {"worth": 0.0}
        # By how much it was better than the best that went, or worse than the worst
        # that stayed.
        ordered = sorted(WORTH[row.cell][row.edge, 1:])
        other = ordered[1] if row.kept else ordered[2]
        apart = abs(WORTH[row.cell][row.edge, column] - other)
        margin = PLACES[row.cell] * apart / total
        assert row.margin == pytest.approx(margin, rel=1e-2)


def test_a_search_space_that_is_pruned_already(
    register: Callable[..., None], worth_proxy: Callable[..., Any]
) -> None:
    # The best operation of one edge is gone, another edge has two left, of which one
    # goes, and of a third nothing can go.
    gone = ("normal", 0, best("normal", 0, CONVS, 1)[0])
    start = FULL.drop(
        [
            gone,
            *(("reduce", 2, op) for op in (NONE, *CONVS[:2])),
            *(("reduce", 3, op) for op in (NONE, *CONVS[:3])),
        ]
    )
    register("worth_of_start", worth_proxy(start, LAYERS, WORTH))
    result = run(start, ("worth_of_start",))
    assert result.mask <= start
    left = tuple(op for op in CONVS if op != gone[2])
    assert result.mask.edge("normal", 0) == best("normal", 0, left, 2)
    assert result.mask.edge("reduce", 2) == best("reduce", 2, CONVS[2:], 1)
    rows = {(r.cell, r.edge, r.operation): r for r in result.operations}
    assert rows[gone].reason == "not in the mask that pruning started from"
    assert not rows[gone].offered
    assert sum(row.offered for row in result.operations) == start.num_kept == 42
    assert rows["reduce", 3, CONVS[3]].reason == "the edge keeps all that it has"
    assert rows["reduce", 3, CONVS[3]].kept
    assert rows["reduce", 3, CONVS[3]].score is None
    # Figures are of what there was, not of the whole space.
    assert result.start == start
    assert result.kept_fraction == (8 * 2 + 1 + 1) / 42
    assert result.warnings == ("1 of 10 edges lost nothing, with one operation each",)


def test_none_goes_first_and_without_a_score() -> None:
    # A fifth of five operations is `none` alone.
    for level, kept in ((0.0, (NONE, *CONVS)), (0.2, CONVS)):
        result = run(FULL, ("worth",), level=level, batches=no_batch)
        assert all(ops == kept for cell in result.mask.kept for ops in cell)
        assert all(r.score is None and r.reason for r in result.operations)
        assert result.compile_seconds == result.score_seconds == 0
        assert result.peak_memory_bytes == 0


def test_scores_of_several_proxies_are_added_whatever_their_sign() -> None:
    names = ("all_equal", "later_is_better", "negative")
    result = run(SMALL, names)
    for row in result.operations:
        if row.score is not None:
            assert [*row.scores] == [*names]
            assert row.score == pytest.approx(sum(row.scores.values()), abs=1e-5)
            # Every removal raises the negative score.
            assert row.scores["negative"] < 0 < row.scores["later_is_better"]


def test_the_same_key_gives_the_same_result() -> None:
    steps: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        steps.append((done, total))

    asked: list[tuple[int, int]] = []

    def batches(number: int, size: int) -> Batch:
        asked.append((number, size))
        return a_batch(number, size)

    first, again, other = (
        run(
            SMALL,
            ("magnitude",),
            key=jax.random.key(k),
            repeats=2,
            progress=p,
            batches=batches,
        )
        for k, p in ((7, note), (7, None), (8, None))
    )
    assert (first.mask, first.operations) == (again.mask, again.operations)
    assert first.operations != other.operations
    # Each repeat has a batch of its own.
    assert list(dict.fromkeys(asked)) == [(0, 2), (1, 2)]
    # The whole and 16 candidates, twice, in chunks of 16.
    assert steps == [(16, 34), (17, 34), (33, 34), (34, 34)]
    # Each repeat draws weights of its own.
    assert all(r.score_std is None or r.score_std > 0 for r in first.operations)


def test_rounds_score_what_is_left() -> None:
    # With two of each node's operations alive, the worth of one is another.
    result = run(FULL, ("worth",), rounds=2, target=Target(keep=1))
    assert result.rounds == 2
    assert result.candidates == (1 + 10 * 4) + (1 + 10 * 2)
    rows = {(r.cell, r.edge, r.operation): r for r in result.operations}
    for cell in SPACE.cells:
        for edge in range(5):
            order = [*best(cell.name, edge, CONVS, 4)]
            order.sort(
                key=lambda op: (
                    -WORTH[cell.name][edge, SPACE.cell(cell.name).ops.index(op)]
                )
            )
            assert result.mask.edge(cell.name, edge) == (order[0],)
            rounds = [rows[cell.name, edge, op].round for op in order]
            assert rounds == [2, 2, 1, 1]
    # The second round's whole is what the first left.
    left = 100 + sum(
        PLACES[c] * sum(sorted(row[1:])[-2:]).item() for c in PLACES for row in WORTH[c]
    )
    row = rows["normal", 0, best("normal", 0, CONVS, 1)[0]]
    assert row.score == pytest.approx(max(WORTH["normal"][0, 1:]) / left, rel=1e-3)


def test_rankers_that_cannot_tell_candidates_apart_are_warned_of() -> None:
    result = run(
        SMALL, ("same", "later_is_better", "broken_without_the_last"), level=0.8
    )
    assert any("same cannot tell the candidates apart" in w for w in result.warnings)
    assert not any("later_is_better" in warning for warning in result.warnings)
    # An operation without which a score is not finite stays.
    assert all(ops == (CONVS[3],) for cell in result.mask.kept for ops in cell)
    assert any("not finite without 4 of 16" in w for w in result.warnings)
    rows = [r for r in result.operations if r.operation == CONVS[3]]
    assert all(r.score == np.inf and r.kept and r.margin is None for r in rows)


@pytest.mark.parametrize(("name", "value"), [("not_a_number", "nan"), ("nothing", "0")])
def test_a_proxy_that_cannot_rank_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"proxy '{name}' is {value}") as raised:
        run(SMALL, ("all_equal", name))
    flags = re.findall(r"--config\.([\w.]+)", str(raised.value))
    assert {"prune.proxies", "prune.batch_size"} <= set(flags)
    assert set(flags) <= set(config_fields())


def test_an_unknown_proxy_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="unknown proxy 'snap'"):
        run(FULL, ("worth", "snap"), level=0.0)
