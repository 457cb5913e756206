"""The drawing of a cell: one path an edge, nothing overlaps, nothing runs through."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_jax.artefacts import CellGenotype
from nas_jax.errors import WorkdirError
from nas_jax.report.artefacts import read_artefacts
from nas_jax.report.drawing import draw_cell
from nas_jax.report.drawing.shapes import Gene, genes_of, shapes_of_space
from nas_jax.spaces import DARTS_OPS, get_space

SHAPE = shapes_of_space(get_space("darts"))["normal"]
BENCH = shapes_of_space(get_space("nasbench201"))["cell"]
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
    for numbers in re.findall(
        r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', svg
    ):
        x, y, width, height = map(float, numbers)
        found.append((x, y, x + width, y + height))
    for numbers in re.findall(r'<circle cx="(.*?)" cy="(.*?)" r="(.*?)"', svg):
        x, y, radius = map(float, numbers)
        found.append((x - radius, y - radius, x + radius, y + radius))
    return found


def points(d: str) -> list[tuple[float, float]]:
    """Points along a path of M, L and C commands, densely sampled."""
    found: list[tuple[float, float]] = []
    for command, rest in re.findall(r"([MLC])([^MLC]*)", d):
        numbers = [float(n) for n in rest.split()]
        controls = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command == "M":
            found += controls
            continue
        controls.insert(0, found[-1])
        for i in range(1, 21):
            layer, t = controls, i / 20
            while len(layer) > 1:
                layer = [
                    ((1 - t) * a[0] + t * b[0], (1 - t) * a[1] + t * b[1])
                    for a, b in itertools.pairwise(layer)
                ]
            found.append(layer[0])
    return found


def inside(box: Box, point: tuple[float, float]) -> bool:
    left, top, right, bottom = box
    return left + 0.5 < point[0] < right - 0.5 and top + 0.5 < point[1] < bottom - 0.5


@pytest.mark.parametrize("downwards", [False, True])
def test_every_gene_is_drawn_and_named(finished: Path, downwards: bool) -> None:
    genotype = read_artefacts(finished).genotype
    assert genotype is not None
    for cell in genotype.cells.values():
        genes = genes_of(cell, SHAPE)
        svg = draw_cell(SHAPE, genes, cell.concat, downwards)
        assert svg.count('class="edge ') == 8 and svg.count('class="join"') == 4
        titles = re.findall(r"<title>(\d) → (\d): (\w+)</title>", svg)
        expected = [(str(g.source), str(g.target), g.operation) for g in genes]
        assert sorted(titles) == sorted(expected)
        (label,) = re.findall(r'role="img" aria-label="(.*?)"', svg)
        assert all(f"{a} → {b} {name}" in label for a, b, name in expected)


@settings(max_examples=10)
@given(genes=gene_lists(), downwards=st.booleans())
def test_no_boxes_overlap_and_no_edge_runs_through_one(
    genes: tuple[Gene, ...], downwards: bool
) -> None:
    svg = draw_cell(SHAPE, genes, (2, 3, 4, 5), downwards)
    drawn = boxes(svg)
    # 2 inputs, 4 nodes, the output and 8 labels.
    assert len(drawn) == 15
    for a, b in itertools.combinations(drawn, 2):
        assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0])
    for left, top, right, bottom in drawn:
        assert 0 <= left and right <= width and 0 <= top and bottom <= height
    for class_, d in re.findall(r'<path class="(edge|join)[^"]*" d="(.*?)"', svg):
        path = points(d)
        crossed = [box for box in drawn if any(inside(box, point) for point in path)]
        # An edge lies under its own label and touches its ends only at the rim.
        assert len(crossed) <= (class_ == "edge")


@pytest.mark.parametrize(
    ("edges", "concat", "message"),
    [
        ((("skip", 0),) * 7, (2,), "7 choices"),
        ((("skip", 0),) * 7 + (("skip", 5),), (2,), "feeds state 5 from state 5"),
        ((("skip", 0),) * 8, (6,), "outputs the states"),
        ((), (2,), "0 choices"),
    ],
)
def test_genotype_that_does_not_fit_is_refused(
    edges: tuple[tuple[str, int], ...], concat: tuple[int, ...], message: str
) -> None:
    with pytest.raises(WorkdirError, match=message):
        genes_of(CellGenotype(edges, concat), SHAPE)


def test_a_cell_that_keeps_all_its_edges() -> None:
    sources = [source for source, _ in BENCH.edges]
    genes = genes_of(CellGenotype(tuple(("skip", s) for s in sources), (3,)), BENCH)
    assert [(gene.source, gene.target) for gene in genes] == list(BENCH.edges)
    svg = draw_cell(BENCH, genes, (3,))
    # The last node alone is the output: nothing is concatenated.
    assert ">output<" in svg and "concat" not in svg
    # An input, 3 nodes, the output and 6 labels.
    assert len(boxes(svg)) == 11
