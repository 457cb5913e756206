"""NAS-Bench-201's architecture strings; DARTS' notation is in test_genotype.py."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import GenotypeError
from nas_jax.spaces import NASBENCH201_OPS, CellGenotype, Genotype, nasbench201_space

SPACE = nasbench201_space()
TEXT = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|avg_pool_3x3~1|none~2|"
GENES = (
    ("nor_conv_3x3", 0),
    ("nor_conv_1x1", 0),
    ("skip_connect", 1),
    ("none", 0),
    ("avg_pool_3x3", 1),
    ("none", 2),
)
GENOTYPE = Genotype(SPACE, (CellGenotype("cell", GENES, (3,)),))
OPERATIONS = st.tuples(*[st.sampled_from(NASBENCH201_OPS)] * 6)


def written(operations: tuple[str, ...]) -> str:
    """An architecture string by the template of the paper."""
    template = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"
    return template.format(*operations)


EVERYTHING = {written(o) for o in itertools.product(NASBENCH201_OPS, repeat=6)}


def genotype(operations: tuple[str, ...]) -> Genotype:
    genes = tuple(zip(operations, (0, 0, 1, 0, 1, 2), strict=True))
    return Genotype(SPACE, (CellGenotype("cell", genes, (3,)),))


def refused(text: str) -> str:
    with pytest.raises(GenotypeError) as error:
        Genotype.parse(SPACE, text)
    return str(error.value)


def test_by_hand() -> None:
    assert Genotype.parse(SPACE, TEXT) == GENOTYPE
    assert str(GENOTYPE) == TEXT


@given(OPERATIONS)
def test_parse_reads_what_str_writes(operations: tuple[str, ...]) -> None:
    text = written(operations)
    assert str(genotype(operations)) == text
    assert Genotype.parse(SPACE, text) == genotype(operations)
    assert hash(Genotype.parse(SPACE, text)) == hash(genotype(operations))


@given(OPERATIONS)
def test_json_round_trip(operations: tuple[str, ...]) -> None:
    data = genotype(operations).to_dict()
    assert data["cell_concat"] == [3]
    assert [op for op, _ in data["cell"]] == list(operations)
    assert Genotype.parse(SPACE, json.dumps(data)) == genotype(operations)
    artefact = {"space": "nasbench201", "genotype": data, "text": written(operations)}
    assert Genotype.parse(SPACE, json.dumps(artefact)) == genotype(operations)


def test_space_around_the_text() -> None:
    assert Genotype.parse(SPACE, f"\n {TEXT}\n") == GENOTYPE


@given(OPERATIONS, st.integers(0, 80), st.text(max_size=2))
def test_every_change_of_a_string_is_another_architecture_or_refused(
    operations: tuple[str, ...], position: int, characters: str
) -> None:
    text = written(operations)
    changed = text[:position] + characters + text[position + 1 :]
    if changed.strip() in EVERYTHING:
        assert str(Genotype.parse(SPACE, changed)) == changed.strip()
    else:
        refused(changed)


@given(st.text(alphabet="|+~012none_skip\n {}[]:\"'") | st.text())
def test_any_text_gives_a_genotype_error(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("", 1),
        (TEXT.replace("+", ""), 1),
        (TEXT[: TEXT.rindex("+")], 2),
        (TEXT + "+|none~0|", 4),
        (TEXT + "+", 4),
        ("Genotype(cell=[('none', 0)])", 1),
    ],
)
def test_wrong_number_of_nodes(text: str, groups: int) -> None:
    message = refused(text)
    assert f"has {groups} groups; expected 3, one for each node" in message
    assert message.endswith(
        "|operation~0|+|operation~0|operation~1|+|operation~0|operation~1|operation~2|"
    )


@pytest.mark.parametrize(
    "group",
    [
        "",
        "|",
        "|none~0|",
        "none~0|none~1",
        "|none~0|none~1",
        "none~0|none~1|",
        " |none~0|none~1|",
        "|none~0|none~1|none~2|",
        "|none~0||none~1|",
        "||none~0|none~1||",
    ],
)
def test_wrong_group(group: str) -> None:
    first, _, last = TEXT.split("+")
    message = refused(f"{first}+{group}+{last}")
    assert f"node 2 of cell 'cell' is {group!r}" in message
    assert message.endswith("expected |operation~0|operation~1|")


@pytest.mark.parametrize(
    "part",
    [
        "skip_connect~0",
        "skip_connect~2",
        "skip_connect~",
        "skip_connect",
        "skip_connect~1~1",
        "skip_connect~01",
        "skip_connect~-1",
        "skip_connect~ 1",
        "skip_connect ~1",
        "skip_connect~１",  # A full-width digit one, which `int` would read.
        "sep_conv_3x3~1",
        "NONE~1",
        "~1",
        "1~skip_connect",
        "",
    ],
)
def test_wrong_part(part: str) -> None:
    message = refused(TEXT.replace("skip_connect~1", part))
    assert f"node 2 of cell 'cell' has {part!r}; expected an operation and '~1'" in (
        message
    )
    assert all(op in message for op in NASBENCH201_OPS)


def test_order_of_the_sources() -> None:
    message = refused(
        TEXT.replace("nor_conv_1x1~0|skip_connect~1", "skip_connect~1|nor_conv_1x1~0")
    )
    assert "has 'skip_connect~1'; expected an operation and '~0', the" in message


def test_long_text_is_cut() -> None:
    assert len(refused("x" * 10_000)) < 300
    assert len(refused(TEXT.replace("none~2", "x" * 10_000))) < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": GENES[:5]}, "has 5 genes; 3 nodes of all their edges need 6"),
        ({"cell": (("none", 1), *GENES[1:])}, "node 1 cannot take state 1"),
        (
            {"cell": (*GENES[:1], GENES[2], GENES[1], *GENES[3:])},
            r"node 2 takes the states \[1, 0\]; expected .* \[0, 1\]",
        ),
        ({"cell": (*GENES[:2], ("none", 0), *GENES[3:])}, "takes a state twice"),
        (
            {"cell": (*GENES[:5], ("max_pool_3x3", 2))},
            "'max_pool_3x3'; allowed: none, skip_connect, nor_conv_1x1",
        ),
        ({"cell_concat": [1, 2, 3]}, r"concat \(1, 2, 3\) must be \(3,\), the last"),
        ({"cell_concat": [2]}, r"concat \(2,\) must be \(3,\), the last node"),
        ({"cell_concat": [0]}, "must hold states of the nodes"),
        ({"normal": []}, r"unknown fields \['normal'\]"),
    ],
)
def test_json_that_is_no_architecture(change: dict[str, Any], message: str) -> None:
    data = {**GENOTYPE.to_dict(), **change}
    with pytest.raises(GenotypeError, match=message):
        Genotype.parse(SPACE, json.dumps(data))


def test_json_without_concat() -> None:
    assert Genotype.parse(SPACE, json.dumps({"cell": GENES})) == GENOTYPE
