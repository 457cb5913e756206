"""Random architectures: distinct, uniform, of the space, and the same for a seed."""

from __future__ import annotations

from collections import Counter

import pytest

from nas_jax.errors import ConfigError
from nas_jax.scoring.sampling import genotype_at, sample_genotypes
from nas_jax.spaces import (
    NONE,
    CellSpec,
    Genotype,
    SearchSpace,
    SpaceMask,
    darts_space,
    nasbench201_space,
)
from nas_jax.spaces.nasbench201 import genotype_of, official_order


def small_darts() -> SearchSpace:
    """Two nodes and 3 operations: (2 * 2) * (3 * 2 * 2) = 48 for each of two cells."""
    return darts_space(2, (NONE, "skip_connect", "max_pool_3x3"))


def test_the_whole_of_nasbench201_is_drawn_once() -> None:
    drawn = sample_genotypes(nasbench201_space(), 15_625, seed=0)
    assert {str(g) for g in drawn} == {str(genotype_of(o)) for o in official_order()}
    assert len(drawn) == 15_625


def test_every_number_is_another_genotype() -> None:
    space = small_darts()
    assert space.size() == 48**2
    every = [genotype_at(space, index) for index in range(48**2)]
    assert len(set(every)) == 48**2
    # The order of a node's edges makes no other architecture.
    as_sets = {
        tuple(
            frozenset(zip(spec.gene_nodes, cell.genes, strict=True))
            for spec, cell in zip(space.cells, genotype.cells, strict=True)
        )
        for genotype in every
    }
    assert len(as_sets) == 48**2


def test_a_part_of_a_space_is_drawn_once_and_holds_nothing_else() -> None:
    space = small_darts()
    gone = [("normal", 0, "skip_connect"), ("reduce", 3, "max_pool_3x3")]
    mask = SpaceMask.full(space).drop(gone)
    every = [genotype_at(mask, index) for index in range(space.size(mask))]
    whole = [genotype_at(space, index) for index in range(space.size())]
    edges = [cell.edges for cell in space.cells]

    def kept(genotype: Genotype) -> bool:
        return all(
            mask.keeps(spec.name, edges[number].index((source, node)), op)
            for number, (spec, cell) in enumerate(
                zip(space.cells, genotype.cells, strict=True)
            )
            for node, (op, source) in zip(spec.gene_nodes, cell.genes, strict=True)
        )

    assert every == [genotype for genotype in whole if kept(genotype)]
    assert set(sample_genotypes(mask, len(every), seed=0)) == set(every)


def test_darts_is_drawn_uniformly() -> None:
    space = small_darts()
    drawn = Counter(
        genotype
        for seed in range(600)
        for genotype in sample_genotypes(space, 48, seed)
    )
    # 600 * 48 / 2304 = 12.5 of each expected. Chi-square with 2303 degrees of freedom
    # has the standard deviation sqrt(2 * 2303) = 68.
    every = [genotype_at(space, index) for index in range(48**2)]
    square = sum((drawn[genotype] - 12.5) ** 2 / 12.5 for genotype in every)
    assert abs(square - 2303) < 5 * 68


def test_genotypes_of_darts_obey_its_rules() -> None:
    space = darts_space()
    drawn = sample_genotypes(space, 200, seed=3)
    assert len(set(drawn)) == 200
    for genotype in drawn:
        # Genotype itself checks sources and operations when it is made.
        assert Genotype.parse(space, str(genotype)) == genotype
        assert all(op != NONE for cell in genotype.cells for op, _ in cell.genes)
    ops = {op for genotype in drawn for cell in genotype.cells for op, _ in cell.genes}
    assert len(ops) == 7
    last = Counter(
        tuple(sorted(s for _, s in genotype.cells[0].genes[-2:])) for genotype in drawn
    )
    assert len(last) == 10  # pairs of the last node's 5 edges


@pytest.mark.parametrize("space", [nasbench201_space(), darts_space()])
def test_seeds(space: SearchSpace) -> None:
    first = sample_genotypes(space, 20, seed=1)
    assert sample_genotypes(space, 20, seed=1) == first
    assert sample_genotypes(space, 30, seed=1)[:20] == first
    assert sample_genotypes(space, 20, seed=2) != first


def test_a_space_too_large_for_a_machine_integer() -> None:
    space = darts_space(7)
    assert space.size() > 2**64
    assert len(set(sample_genotypes(space, 5, seed=0))) == 5


@pytest.mark.parametrize("num", [0, -1, 15_626])
def test_too_many_or_too_few(num: int) -> None:
    expected = f"{num} different .* 'nasbench201' has 15,625; ask for 1 to 15,625"
    with pytest.raises(ConfigError, match=expected):
        sample_genotypes(nasbench201_space(), num, seed=0)


def test_operations_and_edges_of_one_node_by_hand() -> None:
    cell = CellSpec("cell", 2, 1, ((0, 2), (1, 2)), ("a", "b"), edges_per_node=1)
    space = SearchSpace("tiny", (cell,))
    genes = [genotype_at(space, index).cells[0].genes for index in range(4)]
    assert genes == [(("a", 0),), (("b", 0),), (("a", 1),), (("b", 1),)]


@pytest.mark.parametrize("space", [nasbench201_space(), darts_space()])
def test_number_that_the_space_does_not_have(space: SearchSpace) -> None:
    size = space.size()
    assert genotype_at(space, size - 1) != genotype_at(space, 0)
    for index in (-1, size, 2 * size):
        with pytest.raises(
            ConfigError, match=f"no architecture {index}; allowed: 0 to"
        ):
            genotype_at(space, index)


def test_negative_seed() -> None:
    with pytest.raises(
        ConfigError, match="seed is -1; it must be an integer of at leas"
    ):
        sample_genotypes(nasbench201_space(), 1, seed=-1)
