"""Values worked out by hand, and searches that drift or walk."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

from nas_jax.oneshot import Decision, decision
from nas_jax.spaces import (
    SearchSpace,
    SpaceMask,
    darts_space,
    discretise,
    nasbench201_space,
)

# The package has a function of the module's name.
module = importlib.import_module("nas_jax.oneshot.decision")

LN2 = math.log(2)
OPS = ("none", "skip_connect", "sep_conv_3x3")
ONE = SpaceMask.full(darts_space(1, OPS))
TWO = SpaceMask.full(darts_space(2, OPS))
EVEN = [1 / 3] * 3

Cells = dict[str, np.ndarray]


def weights(normal: list[list[float]], reduce: list[list[float]]) -> Cells:
    return {"normal": np.array(normal), "reduce": np.array(reduce)}


def draw(space: SearchSpace, rng: np.random.Generator) -> Cells:
    """Standard normal alphas."""
    return {c.name: rng.normal(size=(len(c.edges), len(c.ops))) for c in space.cells}


def softmax(alphas: Cells, mask: SpaceMask) -> Cells:
    live = mask.arrays()
    powers = {name: np.where(live[name], np.exp(a), 0.0) for name, a in alphas.items()}
    return {name: p / p.sum(axis=1, keepdims=True) for name, p in powers.items()}


def searched(
    mask: SpaceMask,
    rows: int,
    *,
    walk: float = 0.0,
    drift: float = 0.0,
    noise: float = 1e-3,
    seed: int = 0,
) -> list[tuple[int, Cells]]:
    """Weights at steps 0, 5, 10, ... of alphas that walk, and drift somewhere.

    `walk` is the standard deviation of a step of the walk, `drift` that of where the
    drift ends.
    """
    rng = np.random.default_rng(seed)
    start, end = draw(mask.space, rng), draw(mask.space, rng)
    walked = {name: np.zeros_like(alphas) for name, alphas in start.items()}
    history = []
    for row in range(rows + 1):
        alphas = {
            name: noise * start[name] + drift * row / rows * end[name] + walked[name]
            for name in start
        }
        history.append((5 * row, softmax(alphas, mask)))
        for step in walked.values():
            step += walk * math.sqrt(5) * rng.normal(size=step.shape)
    return history


def test_log_weights_leave_out_what_an_edge_has_in_common() -> None:
    mask = ONE.drop([("normal", 1, "none"), ("normal", 1, "skip_connect")])
    given = weights([[0.5, 0.25, 0.25], [0, 0, 1]], [EVEN, [0.2, 0.4, 0.4]])
    np.testing.assert_allclose(
        module.log_weights(mask, given),
        np.array([2, -1, -1, 0, 0, 0, 0, -2, 1, 1]) * LN2 / 3,
        atol=1e-12,
    )


def test_a_gene_can_change_by_another_operation_of_its_edge() -> None:
    # Where a node keeps both of its edges. `none` is no rival, however heavy.
    given = weights([[0.1, 0.6, 0.3], [0.9, 0.08, 0.02]], [EVEN, [0.2, 0.1, 0.7]])
    expected = [LN2, 2 * LN2, 0.0, math.log(7)]
    np.testing.assert_allclose(sorted(module.gaps(ONE, given)), sorted(expected))


def test_a_gene_can_change_by_another_edge_of_its_node() -> None:
    first = [[0, 1, 0], [0, 1, 0]]
    # The third node keeps two of three edges: of .5, .4 and .2.
    third = [[0.6, 0.2, 0.2], [0.25, 0.5, 0.25], [0.5, 0.4, 0.1]]
    mask = TWO.drop(
        (cell, edge, op)
        for cell in ("normal", "reduce")
        for edge in (0, 1)
        for op in ("none", "sep_conv_3x3")
    )
    given = weights(first + third, first + third)
    # .5 against .25 of its own edge, .4 against .2 of the edge that is left out.
    np.testing.assert_allclose(module.gaps(mask, given), [LN2] * 4)


def test_the_weight_of_an_only_operation_is_not_decided_by_its_edge() -> None:
    mask = TWO.drop(o for o in TWO.space.operations() if o[2] != "skip_connect")
    one = [[0.0, 1.0, 0.0]] * 5
    # The third node takes two of three edges of weight 1: the first, whatever happens.
    assert module.gaps(mask, weights(one, one)) == []
    # An operation beside `none` has a weight of its own, and rivals.
    kept = mask.arrays()
    kept["normal"][2:, 0] = True
    beside = SpaceMask.from_arrays(TWO.space, kept)
    given = one[:2] + [[0.2, 0.8, 0], [0.4, 0.6, 0], [0.6, 0.4, 0]]
    np.testing.assert_allclose(
        module.gaps(beside, weights(given, one)), [LN2, math.log(1.5)]
    )


def test_every_edge_of_nasbench201_decides_and_none_can_win() -> None:
    mask = SpaceMask.full(nasbench201_space())
    given = {"cell": np.array([[0.4, 0.2, 0.2, 0.1, 0.1]] * 6)}
    np.testing.assert_allclose(module.gaps(mask, given), [LN2] * 6)
    kept = mask.drop(("cell", 0, op) for op in mask.space.cells[0].ops[1:])
    assert len(module.gaps(kept, given)) == 5


def test_a_gene_for_each_of_the_genotype() -> None:
    for mask in (SpaceMask.full(darts_space()), ONE, TWO):
        _, last = searched(mask, 1)[-1]
        genes = [gene for cell in discretise(mask, last).cells for gene in cell.genes]
        assert len(module.gaps(mask, last)) == len(genes)


def test_a_weight_of_0_is_no_infinity() -> None:
    given = weights([[0, 1, 0], EVEN], [EVEN, EVEN])
    assert np.isfinite(module.gaps(ONE, given)).all()
    assert np.isfinite(module.log_weights(ONE, given)).all()


def test_chance_by_hand() -> None:
    steps = np.array([0, 5, 10, 20])
    rows = np.array([[0.0], [5.0], [5.0], [15.0]])
    # Speeds 1, 0, 1 over 5, 5 and 10 steps: (5 / 2 + 5 / 1.5) / 2 in a step.
    found = module.chance(steps, rows, free=1)
    assert found == pytest.approx(math.sqrt(20 * (5 / 2 + 5 / 1.5) / 2))
    assert module.chance(steps, steps[:, None] * 1.0, free=1) == 0
    assert module.chance(steps[:2], rows[:2], free=1) == 5


@pytest.mark.parametrize("rows", [10, 23, 400])
def test_chance_is_how_far_a_walk_goes(rows: int) -> None:
    rng = np.random.default_rng(0)
    walk = np.cumsum(0.1 * rng.normal(size=(rows + 1, 4000)), axis=0)
    found = module.chance(np.arange(rows + 1), walk, free=4000)
    assert found == pytest.approx(0.1 * math.sqrt(rows), rel=0.05)


@pytest.mark.parametrize("steps", [40, 2000])
def test_chance_does_not_take_momentum_for_a_direction(steps: int) -> None:
    rng = np.random.default_rng(0)
    pushes = 0.1 * rng.normal(size=(steps, 1000))
    # Steps of Adam at DARTS' first beta.
    for push, before in zip(pushes[1:], pushes[:-1], strict=True):
        push[:] = 0.5 * before + 0.5 * push
    walk = np.cumsum(pushes, axis=0)
    found = module.chance(np.arange(steps), walk, free=1000)
    assert found == pytest.approx(0.1 * math.sqrt(steps), rel=0.2)


def test_figures_by_hand() -> None:
    start = weights([EVEN] * 2, [[1 / 6, 1 / 3, 1 / 2], EVEN])
    end = weights([[0.25, 0.5, 0.25], EVEN], [[1 / 6, 1 / 3, 1 / 2], EVEN])
    found = decision(ONE, [(0, start), (10, end)])
    # Eight weights are free. The start has one edge that is not even.
    logs = np.log([1 / 6, 1 / 3, 1 / 2])
    assert found.noise == pytest.approx(math.sqrt(3 * np.var(logs) / 8))
    assert found.moved == pytest.approx(LN2 * math.sqrt(6 / 9 / 8))
    assert found.walk == found.moved
    assert found.largest == pytest.approx((0.5 + 1 / 3 + 0.5 + 1 / 3) / 4)
    assert found.even == pytest.approx(1 / 3)
    bar = 2 * math.sqrt(2) * math.hypot(found.noise, found.walk)
    assert LN2 < bar
    assert (found.genes, found.decided, found.is_noise) == (4, 0, True)


def test_a_search_that_has_not_moved_decides_nothing() -> None:
    for mask in (SpaceMask.full(darts_space()), SpaceMask.full(nasbench201_space())):
        found = decision(mask, searched(mask, 10))
        assert (found.moved, found.walk) == (0, 0)
        assert found.noise == pytest.approx(1e-3, rel=0.3)
        assert found.decided <= 1
        assert found.is_noise


def test_a_search_that_kept_a_direction_decides() -> None:
    for mask in (SpaceMask.full(darts_space()), SpaceMask.full(nasbench201_space())):
        found = decision(mask, searched(mask, 10, drift=1.0, walk=0.002))
        assert found.decided >= 0.8 * found.genes
        assert not found.is_noise
        assert found.moved > 20 * found.walk


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_a_long_walk_decides_nothing_however_far_it_goes(scale: float) -> None:
    # A larger learning rate takes chance as far as it takes the rest.
    mask = SpaceMask.full(darts_space())
    for seed in range(5):
        found = decision(mask, searched(mask, 30, walk=scale, seed=seed))
        assert found.decided <= 1
        assert found.moved > 5 * found.noise


def test_few_steps_are_measured_against_the_noise_of_the_start() -> None:
    mask = SpaceMask.full(darts_space())
    found = decision(mask, searched(mask, 2, drift=5e-4, walk=1e-4))
    assert found.walk < found.noise
    assert found.is_noise


def test_half_of_the_genes_is_not_most() -> None:
    for decided, noise in ((1, True), (2, True), (3, False)):
        found = Decision(4, decided, 1.0, 1.0, 1.0, 0.5, 0.5)
        assert found.is_noise == noise


def test_edges_with_one_operation_have_nothing_to_decide() -> None:
    mask = SpaceMask.full(nasbench201_space())
    one = mask.drop(o for o in mask.space.operations() if o[2] != "skip_connect")
    found = decision(one, searched(one, 3, drift=1.0))
    assert found == Decision(0, 0, 0.0, 0.0, 0.0, 1.0, 1.0)
    assert not found.is_noise


def test_the_pull_of_all_edges_alike_is_a_decision() -> None:
    towards = {
        c.name: np.tile([0.0, 1.0, 0.0], (len(c.edges), 1)) for c in ONE.space.cells
    }
    history = [
        (9 * step, softmax({name: step * a for name, a in towards.items()}, ONE))
        for step in range(5)
    ]
    found = decision(ONE, history)
    assert (found.genes, found.decided) == (4, 4)


@pytest.mark.parametrize("steps", [(), (0,), (0, 0), (0, 5, 4)])
def test_a_history_that_is_none(steps: tuple[int, ...]) -> None:
    even = weights([EVEN] * 2, [EVEN] * 2)
    with pytest.raises(ValueError, match="steps that grow"):
        decision(ONE, [(step, even) for step in steps])
