from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_jax.errors import GenotypeError
from nas_jax.spaces import DARTS_OPS, CellGenotype, Genotype, SpaceMask, darts_space

SPACE = darts_space()
# As quark0/darts prints it (cnn/genotypes.py).
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), "
    "('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
V2 = Genotype.parse(SPACE, DARTS_V2)


@st.composite
def genotypes(draw: st.DrawFn) -> Genotype:
    cells = []
    for cell in SPACE.cells:
        genes: list[tuple[str, int]] = []
        for node in cell.nodes:
            for source in draw(st.permutations(range(node)))[:2]:
                genes.append((draw(st.sampled_from(DARTS_OPS[1:])), source))
        concat = draw(st.permutations(cell.nodes))
        size = draw(st.integers(1, 4))
        cells.append(CellGenotype(cell.name, tuple(genes), tuple(concat[:size])))
    return Genotype(SPACE, tuple(cells))


def with_normal(value: str) -> str:
    """DARTS_V2 with other genes in its normal cell."""
    start, end = DARTS_V2.index("["), DARTS_V2.index(", normal_concat")
    return DARTS_V2[:start] + value + DARTS_V2[end:]


@given(genotypes())
def test_parse_reads_what_str_writes(genotype: Genotype) -> None:
    again = Genotype.parse(SPACE, str(genotype))
    assert again == genotype
    assert hash(again) == hash(genotype)


@given(genotypes())
def test_json_round_trip(genotype: Genotype) -> None:
    text = json.dumps(genotype.to_dict())
    assert Genotype.parse(SPACE, text) == genotype


@given(genotypes())
def test_mask_holds_the_genotype_and_nothing_else(genotype: Genotype) -> None:
    mask = genotype.mask()
    used = {
        (cell.name, (source, 2 + index // 2), op)
        for cell in genotype.cells
        for index, (op, source) in enumerate(cell.genes)
    }
    kept = {
        (cell.name, cell.edges[edge], op)
        for cell in SPACE.cells
        for edge in range(14)
        for op in mask.edge(cell.name, edge)
        if op != "none"
    }
    assert kept == used
    # 8 of 14 edges are used in each cell; the 6 others keep `none` only.
    assert mask.num_kept == 28
    assert SPACE.size(mask) == 1
    assert mask <= SpaceMask.full(SPACE)


def test_darts_v2_field_by_field() -> None:
    normal, reduce = V2.cells
    assert normal.name == "normal"
    assert normal.genes[6:] == (("skip_connect", 0), ("dil_conv_3x3", 2))
    assert normal.concat == reduce.concat == (2, 3, 4, 5)
    assert reduce.genes[2:4] == (("skip_connect", 2), ("max_pool_3x3", 1))


def test_notation_of_str() -> None:
    assert str(V2) == DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")


@pytest.mark.parametrize("concat", ["range(2, 6)", "(2, 3, 4, 5)", "[2,3,4,5]"])
def test_ways_to_write_concat(concat: str) -> None:
    assert Genotype.parse(SPACE, DARTS_V2.replace("[2, 3, 4, 5]", concat)) == V2


def test_concat_that_is_not_a_range() -> None:
    genotype = Genotype.parse(SPACE, DARTS_V2.replace("[2, 3, 4, 5]", "[2, 5]"))
    assert "normal_concat=[2, 5]" in str(genotype)
    assert genotype != V2


def test_concat_is_all_nodes_where_it_is_left_out() -> None:
    text = DARTS_V2.replace(", normal_concat=[2, 3, 4, 5]", "")
    assert Genotype.parse(SPACE, text) == V2


def test_whitespace_and_other_order_of_fields() -> None:
    start = DARTS_V2.index("reduce=")
    normal, reduce = DARTS_V2[len("Genotype(") : start - 2], DARTS_V2[start:-1]
    text = f"\n Genotype(\n  {reduce},\n  {normal}\n)\n"
    assert Genotype.parse(SPACE, text) == V2


def test_genotype_json_artefact() -> None:
    artefact = {
        "space": "darts",
        "genotype": V2.to_dict(),
        "text": str(V2),
        "parameters": None,
    }
    assert Genotype.parse(SPACE, json.dumps(artefact)) == V2
    with pytest.raises(GenotypeError, match="is of space 'other', not 'darts'"):
        Genotype.parse(SPACE, json.dumps({**artefact, "space": "other"}))


def test_named_genotypes(shared_data: Path) -> None:
    named = json.loads((shared_data / "darts" / "named_genotypes.json").read_text())
    assert len(named) == 12
    fields = ("normal", "normal_concat", "reduce", "reduce_concat")
    for entry in named.values():
        data = {field: entry[field] for field in fields}
        genotype = Genotype.parse(SPACE, json.dumps(data))
        assert genotype.to_dict() == data
    assert Genotype.parse(
        SPACE, json.dumps({f: named["DARTS_V2"][f] for f in fields})
    ) == (V2)


CODE = [
    "__import__('os').system('touch {marker}')",
    "__import__('pathlib').Path('{marker}').touch()",
    "open('{marker}', 'w')",
    "[open('{marker}', 'w') for _ in [0]]",
    "(lambda: open('{marker}', 'w'))()",
    "lambda: 0",
    "[('skip_connect', i) for i in (0, 1)]",
    "f\"{{open('{marker}', 'w')}}\"",
    "[('skip_connect', open('{marker}', 'w'))]",
    "[(('skip_connect', [exec('open(\\'{marker}\\', \\'w\\')')]), 0)]",
    "range(open('{marker}', 'w'), 2)",
    "range(0, 10 ** 12)",
    "range(0, 1000000000000)",
    "range(-5, 2)",
    "range(0, 6, 0)",
    "range(2.0, 6)",
    "range(stop=6)",
    "range(*[2, 6])",
    "range",
    "list(range(2, 6))",
    "a.range(2, 6)",
    "[*range(2, 6)]",
    "[('skip_connect', 0)] * 8",
    "(x := open('{marker}', 'w'))",
    "open('{marker}', 'w') if True else 0",
    "().__class__.__base__.__subclasses__()",
    "nothing",
]


@pytest.mark.parametrize("code", CODE)
@pytest.mark.parametrize("field", ["normal", "normal_concat"])
def test_code_is_refused_and_never_run(tmp_path: Path, code: str, field: str) -> None:
    marker = tmp_path / "run"
    code = code.format(marker=marker)
    text = with_normal(code)
    if field == "normal_concat":
        text = DARTS_V2.replace("normal_concat=[2, 3, 4, 5]", f"normal_concat={code}")
    with pytest.raises(GenotypeError) as error:
        Genotype.parse(SPACE, text)
    assert f"genotype field {field!r} holds" in str(error.value)
    assert "only lists of literals and range(a, b) are allowed" in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path('{marker}').touch()",
        "Genotype(open('{marker}', 'w'))",
        "Genotype(*[open('{marker}', 'w')])",
        "Genotype(**{{'normal': open('{marker}', 'w')}})",
        "Genotype(normal=[])(open('{marker}', 'w'))",
        "open('{marker}', 'w').Genotype(normal=[])",
        "(lambda: open('{marker}', 'w'))()",
        "exec(normal='open(1)')",
        "import os",
        "x = 1",
        "Genotype",
        "Genotype(",
        "[('skip_connect', 0)]",
        "",
        "null",
        "Genotype(\0)",
        "Genotype(normal=[], normal=[])",
        "Genotype(normal=" + "(" * 300 + ")" * 300 + ")",
        "Genotype(normal=" + "9" * 5000 + ")",
    ],
)
def test_other_text_is_refused_and_never_run(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "run"
    with pytest.raises(GenotypeError, match="genotype"):
        Genotype.parse(SPACE, text.format(marker=marker))
    assert not marker.exists()


@pytest.mark.parametrize("value", ["-" * 900 + "1", "a" + ".b" * 900, "1" + "+1" * 900])
def test_deeply_nested_code(value: str) -> None:
    with pytest.raises(GenotypeError, match="genotype"):
        Genotype.parse(SPACE, f"Genotype(normal={value})")


@pytest.mark.parametrize("text", ['{"normal": ', '{"a": 1,}', "{'normal': []}"])
def test_broken_json(text: str) -> None:
    with pytest.raises(GenotypeError, match="the genotype is not JSON: "):
        Genotype.parse(SPACE, text)


def test_deeply_nested_json() -> None:
    with pytest.raises(GenotypeError, match="the genotype is not JSON: "):
        Genotype.parse(SPACE, '{"a": ' + "[" * 100_000)


def test_json_with_a_number_of_too_many_digits() -> None:
    with pytest.raises(GenotypeError, match="the genotype is not JSON: "):
        Genotype.parse(SPACE, '{"a": ' + "9" * 5000 + "}")


@given(st.text())
def test_any_text_gives_a_genotype_error(text: str) -> None:
    with pytest.raises(GenotypeError):
        Genotype.parse(SPACE, text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=9),
        max_leaves=12,
    )
)
def test_any_value_of_a_field_gives_a_genotype_error(value: object) -> None:
    data = {**V2.to_dict(), "reduce": value}
    with pytest.raises(GenotypeError, match="reduce"):
        Genotype.parse(SPACE, json.dumps(data))


@pytest.mark.parametrize("op", ["sep_conv_7x7", "none", "", "SEP_CONV_3X3"])
def test_operation_that_cannot_be_chosen(op: str) -> None:
    with pytest.raises(GenotypeError) as error:
        Genotype.parse(SPACE, DARTS_V2.replace("dil_conv_3x3", op))
    assert f"cell 'normal' has operation {op!r}; allowed: max_pool_3x3, avg" in str(
        error.value
    )
    assert "allowed: none" not in str(error.value)


@pytest.mark.parametrize("number", [0, 7, 9, 16])
def test_wrong_number_of_genes(number: int) -> None:
    text = with_normal(str([("skip_connect", 0)] * number))
    with pytest.raises(GenotypeError, match=rf"'normal' has {number} genes; .* need 8"):
        Genotype.parse(SPACE, text)


@pytest.mark.parametrize("source", [2, 3, 5, 6, -1, 99])
def test_source_that_is_not_before_its_node(source: int) -> None:
    text = DARTS_V2.replace("('sep_conv_3x3', 0)", f"('sep_conv_3x3', {source})", 1)
    with pytest.raises(
        GenotypeError, match=f"'normal': node 2 cannot take state {source}"
    ):
        Genotype.parse(SPACE, text)


def test_node_that_takes_a_state_twice() -> None:
    # Not in the space: each node keeps two edges, and an edge has one operation.
    text = DARTS_V2.replace("('sep_conv_3x3', 1)", "('skip_connect', 0)", 1)
    with pytest.raises(GenotypeError, match="node 2"):
        Genotype.parse(SPACE, text)


@pytest.mark.parametrize(
    ("concat", "message"),
    [
        ("[]", "repeats or empty"),
        ("[2, 2]", "repeats or empty"),
        ("[2, 6]", r"\(2, 6\) must hold states"),
        ("[-1, 2]", r"\(-1, 2\) must hold states"),
        ("5", "must list state indices; got 5"),
        ("['2']", "must list state indices"),
        ("[2.0]", "must list state indices"),
        ("[True]", "must list state indices"),
    ],
)
def test_bad_concat(concat: str, message: str) -> None:
    text = DARTS_V2.replace("reduce_concat=[2, 3, 4, 5]", f"reduce_concat={concat}")
    with pytest.raises(GenotypeError, match=message) as error:
        Genotype.parse(SPACE, text)
    assert "reduce" in str(error.value)


def test_concat_of_an_input() -> None:
    with pytest.raises(GenotypeError, match="concat"):
        Genotype.parse(SPACE, DARTS_V2.replace("concat=[2, 3, 4, 5]", "concat=[0, 5]"))


@pytest.mark.parametrize(
    "genes",
    [
        "5",
        "'sep_conv_3x3'",
        "['sep_conv_3x3', 0]",
        "[('sep_conv_3x3',)]",
        "[('sep_conv_3x3', 0, 1)]",
        "[(0, 'sep_conv_3x3')]",
        "[('sep_conv_3x3', '0')]",
        "[('sep_conv_3x3', True)]",
        "[{'sep_conv_3x3': 0}]",
        "None",
    ],
)
def test_genes_that_are_not_pairs(genes: str) -> None:
    with pytest.raises(GenotypeError) as error:
        Genotype.parse(SPACE, with_normal(genes))
    assert "genes of 'normal' are (operation, source state) pairs" in str(error.value)


def test_missing_and_unknown_fields() -> None:
    with pytest.raises(GenotypeError, match=r"lacks the field 'reduce'"):
        Genotype.parse(SPACE, DARTS_V2[: DARTS_V2.index(", reduce=")] + ")")
    with pytest.raises(GenotypeError, match=r"unknown fields \['normall'\]"):
        Genotype.parse(SPACE, DARTS_V2[:-1] + ", normall=[])")


def test_wrong_cells() -> None:
    with pytest.raises(
        GenotypeError, match=r"\['normal', 'reduce'\]; got \['reduce', 'nor"
    ):
        Genotype(SPACE, V2.cells[::-1])


def test_genotypes_are_static_arguments() -> None:
    again = Genotype.parse(SPACE, DARTS_V2)
    assert again is not V2
    assert {again: "same"}[V2] == "same"
    with pytest.raises(AttributeError):
        again.cells = ()  # type: ignore[misc]


def test_genotype_of_another_space() -> None:
    small = darts_space(2)
    text = "Genotype(normal={0}, reduce={0})".format(
        [("skip_connect", 0), ("skip_connect", 1)] * 2
    )
    genotype = Genotype.parse(small, text)
    assert genotype.cells[0].concat == (2, 3)
    with pytest.raises(GenotypeError, match="has 4 genes"):
        Genotype.parse(SPACE, text)
    data: dict[str, Any] = V2.to_dict()
    with pytest.raises(GenotypeError, match="has 8 genes; 2 nodes of 2 edges need 4"):
        Genotype.parse(small, json.dumps(data))
