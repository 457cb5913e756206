from __future__ import annotations

from nas_jax.networks.plan import PlannedOp, plan_genotype, plan_supernet
from nas_jax.spaces import DARTS_OPS, CellGenotype, Genotype, SpaceMask, darts_space

SPACE = darts_space()


def test_waves_of_the_whole_darts_cell() -> None:
    plan = plan_supernet(SpaceMask.full(SPACE), "normal")
    edges = [sorted({(o.source, o.target) for o in wave}) for wave in plan.waves]
    assert edges == [
        [(s, t) for s in (0, 1) for t in (2, 3, 4, 5)],
        [(2, 3), (2, 4), (2, 5)],
        [(3, 4), (3, 5)],
        [(4, 5)],
    ]
    assert [len(wave) for wave in plan.waves] == [7 * n for n in (8, 3, 2, 1)]
    assert plan.concat == (2, 3, 4, 5)


def test_order_within_a_wave() -> None:
    wave = plan_supernet(SpaceMask.full(SPACE), "reduce").waves[0]
    keys = [(o.target, o.source, o.column) for o in wave]
    assert keys == sorted(keys)
    for o in wave:
        assert SPACE.cell("reduce").edges[o.edge] == (o.source, o.target)
        assert DARTS_OPS[o.column] == o.op != "none"


def test_only_kept_operations_are_planned() -> None:
    full = SpaceMask.full(SPACE)
    dropped = [("normal", 0, "skip_connect"), ("normal", 13, "max_pool_3x3")]
    plans = [plan_supernet(mask, "normal") for mask in (full, full.drop(dropped))]
    before, after = ({(o.edge, o.op) for w in p.waves for o in w} for p in plans)
    assert before - after == {(0, "skip_connect"), (13, "max_pool_3x3")}
    assert after <= before


def test_waves_of_a_genotype() -> None:
    space = darts_space(2)
    genes = [("skip_connect", 1), ("sep_conv_3x3", 0), ("max_pool_3x3", 2)]
    genotype = Genotype.parse(
        space,
        f"Genotype(normal={[*genes, ('skip_connect', 0)]}, "
        f"reduce={[('skip_connect', 0), ('skip_connect', 1)] * 2})",
    )
    plan = plan_genotype(space.cell("normal"), genotype.cells[0])
    assert plan.waves == (
        (
            PlannedOp("sep_conv_3x3", 0, 2, 0, 4),
            PlannedOp("skip_connect", 1, 2, 1, 3),
            PlannedOp("skip_connect", 0, 3, 2, 3),
        ),
        (PlannedOp("max_pool_3x3", 2, 3, 4, 1),),
    )
    assert len(plan_genotype(space.cell("reduce"), genotype.cells[1]).waves) == 1


def test_plan_does_not_depend_on_how_a_genotype_is_listed() -> None:
    space = darts_space(2)
    spec = space.cell("normal")
    genes = (
        *(("skip_connect", 1), ("sep_conv_3x3", 0)),
        *(("max_pool_3x3", 2), ("skip_connect", 0)),
    )
    turned = (*genes[1::-1], *genes[:1:-1])
    one = plan_genotype(spec, CellGenotype("normal", genes, (2, 3)))
    other = plan_genotype(spec, CellGenotype("normal", turned, (3, 2)))
    assert one == other
    assert other.concat == (2, 3)
