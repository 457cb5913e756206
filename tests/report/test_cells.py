"""The drawing of a cell: one path an edge, nothing overlaps, nothing runs through."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.errors import WorkdirError
from nas_jax.report.artefacts import CellGenotype, read_artefacts
from nas_jax.report.cells import draw_cell
from nas_jax.report.layering import Item, Link, crossings, lay_out, spread
from nas_jax.report.shapes import CellShape, Gene, genes_of, shapes_of_space
from nas_jax.spaces import DARTS_OPS, get_space

SHAPE = shapes_of_space(get_space("darts"))["normal"]
SIZES = {"state": 28.0, "label": 22.0, "bend": 4.0}
Box = tuple[float, float, float, float]


@st.composite
def gene_lists(draw: st.DrawFn) -> tuple[Gene, ...]:
    """Genes of a cell in which every node has two different sources."""
    genes: list[Gene] = []
    for node in range(2, 6):
        sources = draw(st.permutations(range(node)))[:2]
        names = draw(st.lists(st.sampled_from(DARTS_OPS[1:]), min_size=2, max_size=2))
        genes += [Gene(n, s, node) for n, s in zip(names, sources, strict=True)]
    return tuple(genes)


def boxes(svg: str) -> list[Box]:
    """Rectangles and circles of a drawing as (left, top, right, bottom)."""
    found = []
    for x, y, w, h in re.findall(
        r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', svg
    ):
        found.append((float(x), float(y), float(x) + float(w), float(y) + float(h)))
    for cx, cy, r in re.findall(r'<circle cx="(.*?)" cy="(.*?)" r="(.*?)"', svg):
        x, y, radius = float(cx), float(cy), float(r)
        found.append((x - radius, y - radius, x + radius, y + radius))
    return found


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def points(d: str) -> list[tuple[float, float]]:
    """Points along a path of M, L and C commands, densely sampled."""
    found: list[tuple[float, float]] = []
    for command, rest in re.findall(r"([MLC])([^MLC]*)", d):
        numbers = [float(n) for n in rest.split()]
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command == "M":
            found += pairs
            continue
        controls = [found[-1], *pairs]
        for i in range(1, 21):
            layer, t = controls, i / 20
            while len(layer) > 1:
                layer = [
                    ((1 - t) * a[0] + t * b[0], (1 - t) * a[1] + t * b[1])
                    for a, b in itertools.pairwise(layer)
                ]
            found.append(layer[0])
    return found


@pytest.mark.parametrize("downwards", [False, True])
def test_one_path_for_each_gene_and_each_output(
    finished: Path, downwards: bool
) -> None:
    genotype = read_artefacts(finished).genotype
    assert genotype is not None
    for cell in genotype.cells.values():
        svg = draw_cell(SHAPE, genes_of(cell, SHAPE), cell.concat, downwards)
        assert svg.count('class="edge ') == 8
        assert svg.count('class="tip ') == 8
        assert svg.count('class="label ') == 8
        assert svg.count('class="join"') == 4
        titles = re.findall(r"<title>(\d) → (\d): (\w+)</title>", svg)
        assert sorted(titles) == sorted(
            (str(g.source), str(g.target), g.operation) for g in genes_of(cell, SHAPE)
        )


@settings(max_examples=25)
@given(genes=gene_lists(), downwards=st.booleans())
def test_no_boxes_overlap_and_no_edge_runs_through_one(
    genes: tuple[Gene, ...], downwards: bool
) -> None:
    svg = draw_cell(SHAPE, genes, (2, 3, 4, 5), downwards)
    drawn = boxes(svg)
    # 2 inputs, 4 nodes, the output and 8 labels.
    assert len(drawn) == 15
    assert not any(overlap(a, b) for a, b in itertools.combinations(drawn, 2))
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    for left, top, right, bottom in drawn:
        assert left >= 0 and top >= 0
        assert right <= width - 3 and bottom <= height - 3
    for class_, d in re.findall(r'<path class="(edge|join)[^"]*" d="(.*?)"', svg):
        path = points(d)
        inside = {
            box
            for box in drawn
            if any(
                box[0] + 0.5 < x < box[2] - 0.5 and box[1] + 0.5 < y < box[3] - 0.5
                for x, y in path
            )
        }
        # An edge lies under its own label and touches its ends only at the rim.
        assert len(inside) <= (1 if class_ == "edge" else 0)


@settings(max_examples=25)
@given(genes=gene_lists())
def test_layout_keeps_its_promises(genes: tuple[Gene, ...]) -> None:
    links = [Link(g.source, g.target, g.operation) for g in genes]
    links += [Link(state, 6, None) for state in (2, 3, 4, 5)]
    layout = lay_out(2, links, SIZES, 8.0)
    for chain, link in zip(layout.chains, links, strict=True):
        assert [item.layer for item in chain] == list(
            range(chain[0].layer, chain[-1].layer + 1)
        )
        assert (chain[0].state, chain[-1].state) == (link.source, link.target)
        assert sum(item.label for item in chain) == (link.label is not None)
    for layer in layout.layers:
        for a, b in itertools.pairwise(layer):
            room = (
                8.0
                + sum(
                    SIZES[
                        "state"
                        if i.state is not None
                        else "label"
                        if i.label
                        else "bend"
                    ]
                    for i in (a, b)
                )
                / 2
            )
            assert layout.position[b] - layout.position[a] >= room - 1e-6


def test_layout_of_darts_v2_normal_has_no_needless_crossing() -> None:
    # States 2, 3 and 4 all read inputs 0 and 1: K(2, 3) with both inputs on one side
    # has 3 crossings; the skip 0 -> 5 and the join of 2 add none that can be avoided.
    pairs = [(0, 2), (1, 2), (0, 3), (1, 3), (1, 4), (0, 4)]
    links = [Link(a, b, "op") for a, b in pairs]
    layout = lay_out(2, links, SIZES, 8.0)
    total = 0
    for upper, lower in itertools.pairwise(layout.layers):
        edges = [
            pair
            for chain in layout.chains
            for pair in itertools.pairwise(chain)
            if pair[0] in upper
        ]
        total += crossings(upper, lower, edges)
    assert total == 3


def test_crossings_counts_pairs() -> None:
    a, b = Item(0, state=0), Item(0, state=1)
    c, d = Item(1, state=2), Item(1, state=3)
    assert crossings([a, b], [c, d], [(a, c), (b, d)]) == 0
    assert crossings([a, b], [c, d], [(a, d), (b, c)]) == 1
    assert crossings([a, b], [c, d], [(a, c), (b, c), (a, d)]) == 1


def test_spread_is_the_weighted_least_squares_answer() -> None:
    # Two items want the same place and must be 2 apart: the heavier one moves less.
    assert spread([0.0, 0.0], [1.0, 1.0], [2.0]) == pytest.approx([-1.0, 1.0])
    assert spread([0.0, 0.0], [3.0, 1.0], [2.0]) == pytest.approx([-0.5, 1.5])
    assert spread([0.0, 9.0], [1.0, 1.0], [2.0]) == pytest.approx([0.0, 9.0])


@pytest.mark.parametrize(
    ("edges", "concat", "message"),
    [
        ((("skip", 0),) * 7, (2,), "7 choices"),
        ((("skip", 0),) * 7 + (("skip", 5),), (2,), "feeds state 5 from state 5"),
        ((("skip", 0),) * 8, (6,), "outputs the states"),
        ((("skip", 0),) * 8, (), "outputs the states"),
        ((), (2,), "0 choices"),
    ],
)
def test_genotype_that_does_not_fit_is_refused(
    edges: tuple[tuple[str, int], ...], concat: tuple[int, ...], message: str
) -> None:
    with pytest.raises(WorkdirError, match=message):
        genes_of(CellGenotype(edges, concat), SHAPE)


def test_one_input_and_every_edge_chosen() -> None:
    # NAS-Bench-201's cell: one input, three nodes, one operation on each of six edges.
    pairs = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    shape = CellShape("cell", 1, 3, pairs, ("nor_conv_1x1",))
    genes = tuple(Gene("nor_conv_1x1", a, b) for a, b in pairs)
    svg = draw_cell(shape, genes, (3,))
    assert svg.count('class="edge op-conv"') == 6
    assert svg.count('class="join"') == 1


BENCH = shapes_of_space(get_space("nasbench201"))["cell"]
BENCH_CELL = CellGenotype(
    (
        ("skip_connect", 0),
        ("nor_conv_3x3", 0),
        ("avg_pool_3x3", 1),
        ("none", 0),
        ("nor_conv_1x1", 1),
        ("nor_conv_3x3", 2),
    ),
    (3,),
)


def test_a_cell_that_keeps_all_its_edges() -> None:
    genes = genes_of(BENCH_CELL, BENCH)
    assert [(g.source, g.target) for g in genes] == [
        *((0, 1), (0, 2), (1, 2)),
        *((0, 3), (1, 3), (2, 3)),
    ]
    assert [g.operation for g in genes] == [op for op, _ in BENCH_CELL.edges]


@pytest.mark.parametrize("downwards", [False, True])
def test_the_drawing_of_a_cell_that_keeps_all_its_edges(downwards: bool) -> None:
    svg = draw_cell(BENCH, genes_of(BENCH_CELL, BENCH), (3,), downwards)
    assert svg.count('class="edge ') == 6
    assert svg.count('class="join"') == 1
    # The last node alone is the output: nothing is concatenated.
    assert ">output<" in svg and "concat" not in svg
    drawn = boxes(svg)
    # An input, 3 nodes, the output and 6 labels.
    assert len(drawn) == 11
    assert not any(overlap(a, b) for a, b in itertools.combinations(drawn, 2))
