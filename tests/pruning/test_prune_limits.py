"""Where pruning stops, and where a run that was killed goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import Target
from nas_jax.spaces import SpaceMask, darts_space
from tests.pruning.handmade import (
    CONVS,
    FULL,
    SMALL,
    SPACE,
    best,
    no_batch,
    register_all,
    run,
)


@pytest.fixture(scope="module", autouse=True)
def proxies(register: Callable[..., None], worth_proxy: Callable[..., Any]) -> None:
    register_all(register, worth_proxy)


class Pages(dict[str, tuple[np.ndarray, float]]):
    """A journal in memory."""

    def read(self, candidates: str) -> tuple[np.ndarray, float] | None:
        return self.get(candidates)

    def write(self, candidates: str, scores: np.ndarray, seconds: float) -> None:
        self[candidates] = (scores, seconds)


def test_a_journal_spares_what_was_scored() -> None:
    whole = Pages()
    first = run(SMALL, ("magnitude",), repeats=2, journal=whole)
    assert len(whole) == 4
    # A chunk that is missing, or of another shape, is scored again, and in whatever
    # order the others are found.
    lost, cut, *rest = whole
    part = Pages({name: whole[name] for name in reversed(rest)})
    part[cut] = (whole[cut][0][:1], 1.0)
    again = run(SMALL, ("magnitude",), repeats=2, journal=part)
    assert (again.mask, again.operations) == (first.mask, first.operations)
    for name in (lost, cut):
        np.testing.assert_array_equal(part[name][0], whole[name][0])
    done = run(SMALL, ("magnitude",), repeats=2, journal=whole, batches=no_batch)
    assert done.operations == first.operations
    # Another pruning's chunks are others.
    both = Pages(whole)
    run(SMALL, ("magnitude",), repeats=2, journal=both, key=jax.random.key(5))
    assert len(both) == 2 * len(whole)
    assert done.score_seconds == pytest.approx(first.score_seconds)


def test_a_budget_takes_no_more_than_it_needs() -> None:
    sizes: list[int] = []

    def step_bytes(mask: SpaceMask) -> int:
        sizes.append(mask.num_kept)
        return 100 * mask.num_kept

    target = Target(budget_bytes=2550, step_bytes=step_bytes)
    result = run(FULL, ("worth",), target=target)
    # 25 operations fit, of 50; `none` went from each edge first.
    assert result.mask.num_kept == 25
    assert result.step_bytes == 2500
    assert len(sizes) == len(set(sizes)) <= 5
    # Each edge has lost its least important ones, evenly but for the last few.
    left = [len(ops) for cell in result.mask.kept for ops in cell]
    assert set(left) == {2, 3}
    for cell in SPACE.cells:
        for edge in range(5):
            ops = result.mask.edge(cell.name, edge)
            assert ops == best(cell.name, edge, CONVS, len(ops))


def test_a_budget_that_the_space_meets_prunes_nothing_but_none() -> None:
    target = Target(
        budget_bytes=1400, step_bytes=lambda mask: 1000 + 10 * mask.num_kept
    )
    result = run(FULL, ("worth",), target=target, batches=no_batch)
    assert result.mask.num_kept == 40 and result.step_bytes == 1400


def test_a_budget_that_nothing_meets_is_refused() -> None:
    target = Target(budget_bytes=100, step_bytes=lambda mask: 10 * mask.num_kept + 1)
    with pytest.raises(ConfigError, match=r"needs 101 bytes with the 10 .* of 100"):
        run(FULL, ("worth",), target=target)


def test_a_floor_of_convolutions() -> None:
    space = darts_space(1, ("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3"))
    mask = SpaceMask.full(space)
    target = Target(keep=1, min_parametric=1)
    # The removal of either pool changes nothing, so convolutions are worth more than
    # they; "negative_params" wants them gone.
    free, floored = (
        run(mask, ("negative_params",), target=t) for t in (Target(keep=1), target)
    )
    for cell in space.cells:
        kept = [free.mask.edge(cell.name, edge)[0] for edge in (0, 1)]
        assert "sep_conv_3x3" not in kept
        kept = [floored.mask.edge(cell.name, edge)[0] for edge in (0, 1)]
        assert kept.count("sep_conv_3x3") == 1
