"""Edge by edge and sampled pruning of a space whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import pytest

from nas_jax.errors import ConfigError
from nas_jax.pruning import Strategy, SupernetSize, Target, prune, sampled, zero_cost_pt
from tests.pruning import handmade
from tests.pruning.handmade import CONVS, FULL, LAYERS, SPACE, best

SIZE = SupernetSize(2, LAYERS)


@pytest.fixture(scope="module", autouse=True)
def worth(register: Callable[..., None], worth_proxy: Callable[..., Any]) -> None:
    """`nwot`, by which both rank, says what the living operations are worth."""
    register("nwot", worth_proxy(FULL, LAYERS, handmade.WORTH))


def run(strategy: Strategy, keep: int) -> Any:
    return prune(
        FULL,
        strategy,
        handmade.a_batch,
        key=jax.random.key(0),
        num_classes=2,
        target=Target(keep=keep),
    )


def test_zero_cost_pt_keeps_what_lowers_the_score_most_when_it_goes() -> None:
    strategy = zero_cost_pt(SIZE, batch_size=2)
    # Of an untrained network: evaluation mode in the public code.
    assert [r.norm for r in strategy.rankers] == ["running"]
    result = run(strategy, keep=2)
    rows = {(o.cell, o.edge, o.operation): o for o in result.operations}
    for cell in SPACE.cells:
        for edge in range(len(cell.edges)):
            kept = result.mask.edge(cell.name, edge)
            assert kept == best(cell.name, edge, CONVS, 2)
    # An edge a round, each scored with nothing but its own operations at stake.
    numbers = {(o.cell, o.edge): o.round for o in result.operations if o.round}
    assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))
    assert result.candidates == len(numbers) * (1 + len(CONVS))
    # The edge of the last round is scored without what the others lost.
    last = max(numbers, key=numbers.__getitem__)
    left = 100 + sum(
        handmade.PLACES[c.name]
        * sum(
            handmade.WORTH[c.name][edge, c.ops.index(op)]
            for op in (
                CONVS if (c.name, edge) == last else result.mask.edge(c.name, edge)
            )
        )
        for c in SPACE.cells
        for edge in range(len(c.edges))
    )
    row = rows[(*last, CONVS[0])]
    cell = SPACE.cell(last[0])
    value = handmade.WORTH[cell.name][last[1], cell.ops.index(CONVS[0])]
    expected = handmade.PLACES[cell.name] * value / left
    assert row.score == pytest.approx(expected, rel=1e-3)


def test_sampled_keeps_what_good_architectures_have() -> None:
    result = run(sampled(SIZE, samples=600, batch_size=2), keep=1)
    scores = {(o.cell, o.edge, o.operation): o.score for o in result.operations}
    for cell in SPACE.cells:
        for edge in range(len(cell.edges)):
            worth = handmade.WORTH[cell.name][edge]
            order = sorted(CONVS, key=lambda op: -worth[cell.ops.index(op)])
            found = [scores[cell.name, edge, op] for op in order]
            # The two in the middle may be worth nearly the same.
            assert found[0] > found[2] and found[0] > found[3] < found[1]
            assert result.mask.edge(cell.name, edge)[0] in order[:2]


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 sampled architectures are fewer than the"):
        run(sampled(SIZE, samples=3, batch_size=2), keep=1)
