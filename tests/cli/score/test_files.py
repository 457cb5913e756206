"""Files of architectures and of accuracies: what is read, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from nas_jax.cli.score.files import read_accuracies, read_architectures
from nas_jax.errors import ConfigError, DataError, GenotypeError
from nas_jax.scoring.sampling import sample_genotypes
from nas_jax.spaces import (
    Genotype,
    SpaceMask,
    darts_space,
    get_mask,
    nasbench201_space,
)

SPACE = nasbench201_space()
WHOLE, DARTS = SpaceMask.full(SPACE), SpaceMask.full(darts_space())
FIRST, SECOND, THIRD = map(str, sample_genotypes(SPACE, 3, seed=0))


def read(file: Path) -> list[str]:
    return list(map(str, read_architectures(str(file), WHOLE, lambda genotype: None)))


def test_text_has_an_architecture_a_line(tmp_path: Path) -> None:
    file = tmp_path / "archs.txt"
    as_json = json.dumps(Genotype.parse(SPACE, THIRD).to_dict())
    file.write_text(f"\ufeff{SECOND}\n\n  {FIRST} \n{as_json}", encoding="utf-8")
    assert read(file) == [SECOND, FIRST, THIRD]


@pytest.mark.parametrize("name", ["a.csv", "a.CSV.gz"])
def test_table_has_a_column_of_architectures(tmp_path: Path, name: str) -> None:
    text = f"index,arch_str,note\n7,{SECOND},good\n\n8,{FIRST},\n".encode()
    file = tmp_path / name
    file.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert read(file) == [SECOND, FIRST]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "", "a.txt has no architecture; give one a line, such as |none~0|+"),
        ("a.txt", f"{FIRST}\n\nnonsense\n", r"a.txt, line 3: not an architecture"),
        ("a.txt", f"{FIRST}\n{{\n", r"a.txt, line 2: the genotype is not JSON"),
        ("a.txt", f"{FIRST}\n{FIRST.replace('~0', '~1')}", "a.txt, line 2: node 1 of"),
        (
            "a.txt",
            f"{FIRST}\n{SECOND}\n{FIRST}\n",
            "a.txt, line 1 and line 3: the same architecture",
        ),
        ("a.csv", f"arch_str\n{FIRST}\nbad\n", "a.csv, row 2 below the header: not an"),
        ("a.csv", f"arch_str\n{FIRST}\n{FIRST}\n", "a.csv, lines 2 and 3: the arch"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert f"{tmp_path}/{expected}" in str(caught.value)


def test_bad_csv_column_missing_file_and_binary_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"arch\n{FIRST}\n")
    with pytest.raises(ConfigError, match="no column 'arch_str'; allowed: arch. "):
        read(tmp_path / "a.csv")
    with pytest.raises(DataError, match="cannot read .*b.txt: No such file"):
        read(tmp_path / "b.txt")
    (tmp_path / "c.txt").write_bytes(gzip.compress(FIRST.encode()))
    with pytest.raises(DataError, match="cannot read .*c.txt as utf-8: invalid"):
        read(tmp_path / "c.txt")


def test_what_cannot_be_scored_is_named_by_its_line(tmp_path: Path) -> None:
    def refuse(genotype: Genotype) -> None:
        if str(genotype) == SECOND:
            raise GenotypeError("too good")

    (tmp_path / "a.txt").write_text(f"{FIRST}\n{SECOND}\n")
    with pytest.raises(DataError, match="a.txt, line 2: too good"):
        read_architectures(str(tmp_path / "a.txt"), WHOLE, refuse)


def test_a_part_of_a_space_has_no_other_operations(tmp_path: Path) -> None:
    (inside,) = sample_genotypes(get_mask("s2"), 1, seed=0)
    outside = str(inside).replace("sep_conv_3x3", "sep_conv_5x5")
    (tmp_path / "a.txt").write_text(f"{inside}\n{outside}\n")
    with pytest.raises(DataError, match="line 2: sep_conv_5x5 is not in the space on"):
        read_architectures(str(tmp_path / "a.txt"), get_mask("s2"), lambda genotype: 0)


def test_accuracies_are_matched_by_architecture(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    fourth = str(sample_genotypes(SPACE, 4, seed=0)[-1])
    rows = f"{THIRD},3.5\n{fourth},9\nno architecture,1\n{FIRST},\n{SECOND},2\n"
    file.write_text(f"arch_str,test\n{rows}")
    found = read_accuracies(str(file), "test", SPACE, [FIRST, SECOND, THIRD])
    # FIRST is there without an accuracy.
    np.testing.assert_array_equal(found, [np.nan, 2.0, 3.5])
    names = [SECOND, "missing", THIRD]
    found = read_accuracies(str(file), "test", SPACE, names)
    np.testing.assert_array_equal(found, [2.0, np.nan, 3.5])


def test_tables_without_an_accuracy(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text(f"arch_str,test\n{THIRD},3\n{FIRST},\n")
    with pytest.raises(ConfigError, match="has no column 'tset'; allowed: arch_str, t"):
        read_accuracies(str(file), "tset", SPACE, [FIRST])
    with pytest.raises(DataError, match="no 'test' of any of the 2 architectures"):
        read_accuracies(str(file), "test", SPACE, [FIRST, SECOND])


DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
)
V2 = Genotype.parse(darts_space(), DARTS_V2)
BY_SOURCE = str(V2.canonical())


def test_one_architecture_listed_in_two_ways_is_one(tmp_path: Path) -> None:
    assert BY_SOURCE != DARTS_V2
    for name, text in (
        ("a.txt", f"{DARTS_V2}\n{BY_SOURCE}\n"),
        ("a.csv", f'arch_str\n"{DARTS_V2}"\n"{BY_SOURCE}"\n'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="1.* and .* 2.*: the same architecture"):
            read_architectures(str(tmp_path / name), DARTS, lambda genotype: 0)


@pytest.mark.parametrize("names", [(DARTS_V2, BY_SOURCE), (BY_SOURCE, DARTS_V2)])
def test_accuracies_of_genotypes_listed_otherwise(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    table, asked = names
    (tmp_path / "t.csv").write_text(f'arch_str,test\n"{table}",97.24\n')
    found = read_accuracies(str(tmp_path / "t.csv"), "test", darts_space(), [asked])
    assert found.tolist() == [97.24]


def test_table_with_an_architecture_listed_in_two_ways(tmp_path: Path) -> None:
    rows = f'"{DARTS_V2}",97.24\nother,1\n"V2 = {BY_SOURCE}",97.3\n'
    (tmp_path / "t.csv").write_text(f"arch_str,test\n{rows}")
    with pytest.raises(
        DataError, match="t.csv, rows 1 and 3 below the header: the sam"
    ):
        read_accuracies(str(tmp_path / "t.csv"), "test", darts_space(), [DARTS_V2])


def test_genotypes_as_they_are_pasted(tmp_path: Path) -> None:
    genotypes = sample_genotypes(darts_space(), 4, seed=0)
    nested = genotypes[2].to_dict()
    for name in ("normal", "reduce"):
        nested[name] = [nested[name][i : i + 2] for i in range(0, 8, 2)]
    texts = [
        f"05/14 09:21:08 PM genotype = {genotypes[0]}",
        "",
        f"BEST = {genotypes[1]}".replace("], ", "],  # a step (1\n   "),
        json.dumps(nested, indent=2),
        f"  {genotypes[3]}",
    ]
    (tmp_path / "a.txt").write_text("\ufeff" + "\n".join(texts), encoding="utf-8")
    found = read_architectures(str(tmp_path / "a.txt"), DARTS, lambda g: None)
    assert found == genotypes


def test_genotype_over_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    broken = DARTS_V2.replace("], ", "],\n")[:-1]
    for behind in ("", f"\n{BY_SOURCE}\n"):
        (tmp_path / "a.txt").write_text(f"\n{broken}{behind}")
        with pytest.raises(DataError, match="a.txt, line 2: not a genotype"):
            read_architectures(str(tmp_path / "a.txt"), DARTS, lambda g: None)
