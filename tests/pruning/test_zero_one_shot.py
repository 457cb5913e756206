from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.errors import ConfigError
from nas_jax.proxies import Batch
from nas_jax.proxies.layerwise import sum_over_weights
from nas_jax.pruning import PruneResult, operations_to_keep, prune
from nas_jax.pruning.zero_one_shot import NEVER_SELECTED
from nas_jax.spaces import NONE, SpaceMask, darts_space

CONVS = ("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
SPACE = darts_space(2, ("none", *CONVS))
FULL = SpaceMask.full(SPACE)
SMALL = SpaceMask.full(darts_space(1, ("none", *CONVS)))
# Three cells: one normal and two reduction cells.
LAYERS = 3
PLACES = {"normal": 1, "reduce": 2}
RNG = np.random.default_rng(0)
WORTH = {c.name: RNG.permutation(25).reshape(5, 5) + 1.0 for c in SPACE.cells}


def a_batch(repeat: int) -> Batch:
    return Batch(jnp.full((2, 8, 8, 1), repeat, jnp.float32), jnp.array([0, 1]))


def run(mask: SpaceMask, proxies: tuple[str, ...], **options: Any) -> PruneResult:
    settings = {"channels": 2, "layers": LAYERS, "repeats": 1, "level": 0.5}
    settings |= {"key": jax.random.key(0), "num_classes": 2} | options
    return prune(mask, a_batch, proxies=proxies, **settings)


@pytest.fixture(scope="module", autouse=True)
def proxies(register: Callable[..., None], worth_proxy: Callable[..., Any]) -> None:
    ones = {c.name: np.ones((2, 5)) for c in SMALL.space.cells}
    by_place = {k: 1 + np.arange(10.0).reshape(2, 5) for k in ones}
    register("worth", worth_proxy(FULL, LAYERS, WORTH))
    register("all_equal", worth_proxy(SMALL, LAYERS, ones))
    register("later_is_better", worth_proxy(SMALL, LAYERS, by_place))
    register("not_a_number", lambda network, batch, key: jnp.full((), jnp.nan))
    register("nothing", lambda network, batch, key: jnp.zeros(()))
    register(
        "magnitude",
        lambda network, batch, key: sum_over_weights(
            jnp.abs, lambda s: s, network.live, network.params
        ),
    )
    register("negative", lambda *a: -worth_proxy(SMALL, LAYERS, by_place)(*a))
    register("image", lambda network, batch, key: 1 + jnp.max(batch.images))


@pytest.fixture(scope="module")
def by_worth(proxies: None) -> PruneResult:
    return run(FULL, ("worth",))


def best(cell: str, edge: int, ops: tuple[str, ...], keep: int) -> tuple[str, ...]:
    worth = dict(zip(SPACE.cell(cell).ops, WORTH[cell][edge], strict=True))
    chosen = sorted(ops, key=lambda op: -worth[op])[:keep]
    return tuple(op for op in ops if op in chosen)


@pytest.mark.parametrize(
    ("level", "kept"),
    [(0.0, 8), (0.25, 6), (0.5, 4), (0.625, 3), (0.75, 2), (0.875, 1), (0.99, 1)],
)
def test_operations_to_keep_of_eight(level: float, kept: int) -> None:
    assert operations_to_keep(8, level) == kept


def test_operations_to_keep_rounds_down_and_keeps_one() -> None:
    assert operations_to_keep(5, 0.5) == 2
    assert operations_to_keep(7, 0.3) == 4
    # 10 * (1 - 0.9) is 0.9999999999999998 in floating point.
    assert operations_to_keep(10, 0.9) == 1
    assert operations_to_keep(100, 0.9) == 10
    assert operations_to_keep(1, 0.5) == 1


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_level_outside_is_refused(level: float) -> None:
    with pytest.raises(ConfigError, match="pruning level .* below 1"):
        operations_to_keep(8, level)
    with pytest.raises(ConfigError, match="pruning level"):
        run(FULL, ("worth",), level=level)


def test_the_most_important_operations_are_kept(by_worth: PruneResult) -> None:
    # Half of five operations is two, and `none` is not one of them.
    for cell in SPACE.cells:
        for edge in range(5):
            assert by_worth.mask.edge(cell.name, edge) == best(
                cell.name, edge, CONVS, 2
            )
    assert by_worth.mask.kept_fraction == 2 / 5


def test_rows_are_complete_and_in_canonical_order(by_worth: PruneResult) -> None:
    rows = by_worth.operations
    assert [(r.cell, r.edge, r.operation) for r in rows] == list(SPACE.operations())
    total = 100 + sum(PLACES[c] * WORTH[c][:, 1:].sum() for c in PLACES)
    for row in rows:
        assert (row.source, row.target) == SPACE.cell(row.cell).edges[row.edge]
        assert row.kept == by_worth.mask.keeps(row.cell, row.edge, row.operation)
        if row.operation == NONE:
            assert (row.kept, row.score, row.score_std, row.scores) == (
                False,
                None,
                None,
                {},
            )
            assert row.reason == NEVER_SELECTED
            continue
        column = SPACE.cell(row.cell).ops.index(row.operation)
        expected = PLACES[row.cell] * WORTH[row.cell][row.edge, column] / total
        assert row.score == pytest.approx(expected, rel=1e-3)
        assert row.scores == {"worth": row.score}
        assert (row.score_std, row.reason) == (0.0, "")


def test_costs_are_reported(by_worth: PruneResult) -> None:
    assert by_worth.proxies == ("worth",)
    assert by_worth.compile_seconds > 0 and by_worth.score_seconds > 0
    assert by_worth.peak_memory_bytes > 0


def test_a_search_space_that_is_pruned_already(
    register: Callable[..., None], worth_proxy: Callable[..., Any]
) -> None:
    # The best operation of one edge is gone, and another edge has two left: on it
    # nothing needs to go.
    gone = ("normal", 0, best("normal", 0, CONVS, 1)[0])
    start = FULL.drop([gone, *(("reduce", 2, op) for op in (NONE, *CONVS[:2]))])
    register("worth_of_start", worth_proxy(start, LAYERS, WORTH))
    result = run(start, ("worth_of_start",))
    assert result.mask <= start
    left = tuple(op for op in CONVS if op != gone[2])
    assert result.mask.edge("normal", 0) == best("normal", 0, left, 2)
    assert result.mask.edge("reduce", 2) == CONVS[2:]
    rows = {(r.cell, r.edge, r.operation): r for r in result.operations}
    assert rows[gone].reason == "not in the mask that pruning started from"
    assert rows["reduce", 2, CONVS[3]].reason == "the edge keeps all that it has"
    assert rows["reduce", 2, CONVS[3]].kept
    assert rows["reduce", 2, CONVS[3]].score is None


def test_level_0_scores_nothing_and_keeps_all() -> None:
    def no_batch(repeat: int) -> Batch:
        raise AssertionError("nothing is scored")

    result = prune(
        FULL, no_batch, key=jax.random.key(0), num_classes=2, level=0.0, repeats=2
    )
    assert result.mask == FULL
    assert all(r.kept and r.score is None and r.reason for r in result.operations)
    assert result.compile_seconds == result.score_seconds == 0
    assert result.peak_memory_bytes == 0


def test_none_goes_first_and_without_a_score() -> None:
    # A fifth of five operations is `none` alone.
    result = prune(
        FULL,
        lambda repeat: pytest.fail("nothing is scored"),
        key=jax.random.key(0),
        num_classes=2,
        level=0.2,
    )
    assert all(ops == CONVS for cell in result.mask.kept for ops in cell)


def test_of_equal_operations_the_later_go() -> None:
    result = run(SMALL, ("all_equal",))
    assert all(ops == CONVS[:2] for cell in result.mask.kept for ops in cell)


def test_a_negative_score_counts_by_its_size() -> None:
    # Every removal raises the negative score: then the least worth is kept.
    assert run(SMALL, ("later_is_better",)).mask.edge("reduce", 1) == CONVS[2:]
    result = run(SMALL, ("negative",))
    assert result.mask.edge("reduce", 1) == CONVS[:2]
    assert all(r.score is None or r.score < 0 for r in result.operations)


def test_scores_of_several_proxies_are_added() -> None:
    names = ("all_equal", "later_is_better")
    both = run(SMALL, names)
    single = [run(SMALL, (name,)) for name in names]
    for row, *parts in zip(
        both.operations, *(s.operations for s in single), strict=True
    ):
        if row.score is not None:
            assert [*row.scores] == [*names]
            assert row.score == pytest.approx(sum(p.score for p in parts), rel=1e-5)


@settings(max_examples=10)
@given(level=st.floats(0, 1, exclude_max=True))
def test_every_edge_keeps_as_many_as_the_level_says(level: float) -> None:
    result = run(SMALL, ("later_is_better",), level=level)
    keep = operations_to_keep(5, level)
    for cell in result.mask.kept:
        for ops in cell:
            assert len(ops) == keep >= 1
            if keep < 5:
                assert ops == CONVS[4 - keep :]


def test_the_same_key_gives_the_same_result() -> None:
    steps: list[int] = []
    first, again, other = (
        run(SMALL, ("magnitude",), key=jax.random.key(k), repeats=2, progress=p)
        for k, p in ((7, steps.append), (7, None), (8, None))
    )
    assert (first.mask, first.operations) == (again.mask, again.operations)
    assert first.operations != other.operations
    assert steps == [1, 2]
    # Each repeat draws weights of its own.
    assert all(r.score_std is None or r.score_std > 0 for r in first.operations)


def test_each_repeat_has_a_batch_of_its_own() -> None:
    asked: list[int] = []

    def batches(repeat: int) -> Batch:
        asked.append(repeat)
        return a_batch(repeat)

    prune(
        SMALL,
        batches,
        key=jax.random.key(0),
        num_classes=2,
        proxies=("image",),
        channels=2,
        layers=LAYERS,
        repeats=3,
    )
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(("name", "value"), [("not_a_number", "nan"), ("nothing", "0")])
def test_a_proxy_that_cannot_rank_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"proxy '{name}' is {value}"):
        run(SMALL, ("all_equal", name))


def test_an_unknown_proxy_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="unknown proxy 'snap'"):
        run(FULL, ("worth", "snap"), level=0.0)
