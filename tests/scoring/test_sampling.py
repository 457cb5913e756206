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


def test_a_part_of_a_space_is_drawn_once_and_holds_nothing_else() -> None:
    space = small_darts()
    gone = [("normal", 0, "skip_connect"), ("reduce", 3, "max_pool_3x3")]
    assert space.size() == 48**2
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

    assert len(set(whole)) == len(whole)
    assert every == [genotype for genotype in whole if kept(genotype)]
    assert set(sample_genotypes(mask, len(every), seed=0)) == set(every)


def test_darts_is_drawn_uniformly() -> None:
    space = small_darts()
    drawn = Counter(
        genotype
        for seed in range(200)
        for genotype in sample_genotypes(space, 48, seed)
    )
    # 200 * 48 / 2304 = 4.17 of each expected. Chi-square with 2303 degrees of freedom
    # has the standard deviation sqrt(2 * 2303) = 68.
    every, mean = [genotype_at(space, i) for i in range(48**2)], 200 * 48 / 2304
    square = sum((drawn[g] - mean) ** 2 / mean for g in every)
    assert abs(square - 2303) < 5 * 68


# The last has more architectures than a machine integer can count.
@pytest.mark.parametrize("space", [nasbench201_space(), darts_space(), darts_space(7)])
def test_seeds(space: SearchSpace) -> None:
    first = sample_genotypes(space, 20, seed=1)
    assert sample_genotypes(space, 20, seed=1) == first
    assert sample_genotypes(space, 30, seed=1)[:20] == first
    assert sample_genotypes(space, 20, seed=2) != first
    assert all(Genotype.parse(space, str(genotype)) == genotype for genotype in first)


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


@pytest.mark.parametrize(
    ("num", "seed", "said"),
    [
        (0, 0, "0 different .* 'nasbench201' has 15,625; ask for 1 to 15,625"),
        (15_626, 0, "15626 different .* 'nasbench201' has 15,625"),
        (1, -1, "seed is -1; it must be an integer of at leas"),
    ],
)
def test_what_cannot_be_drawn(num: int, seed: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sample_genotypes(nasbench201_space(), num, seed)
