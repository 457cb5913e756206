from __future__ import annotations

import json
import re
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


def relisted(genotype: Genotype, order: int) -> Genotype:
    """The same architecture with the genes of every other node, and concat, turned."""
    cells = []
    for spec, cell in zip(genotype.space.cells, genotype.cells, strict=True):
        genes: list[tuple[str, int]] = []
        for node in spec.nodes:
            pair = cell.genes[2 * (node - 2) : 2 * (node - 1)]
            genes += pair[::-1] if node % 2 == order else pair
        cells.append(CellGenotype(cell.name, tuple(genes), cell.concat[::-1]))
    return Genotype(genotype.space, tuple(cells))


@given(genotypes(), st.integers(0, 1))
def test_the_order_of_genes_makes_no_other_architecture(
    genotype: Genotype, order: int
) -> None:
    other = relisted(genotype, order)
    assert other.cells != genotype.cells
    assert other == genotype
    assert hash(other) == hash(genotype)
    assert len({genotype, other}) == 1
    assert other.mask() == genotype.mask()
    assert str(other.canonical()) == str(genotype.canonical())
    # What is printed keeps its order.
    assert Genotype.parse(SPACE, str(other)).cells == other.cells
    assert other.to_dict()["normal"] == [list(gene) for gene in other.cells[0].genes]


def test_canonical_by_hand() -> None:
    canonical = V2.canonical()
    assert canonical == V2
    assert canonical.cells[0].genes == (
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("dil_conv_3x3", 2)),
    )
    assert canonical.canonical() is canonical
    listed = Genotype.parse(SPACE, DARTS_V2.replace("[2, 3, 4, 5]", "[5, 3, 2, 4]"))
    assert listed.canonical().cells == canonical.cells


def test_genes_of_another_node_make_another_architecture() -> None:
    genes = [*V2.cells[0].genes]
    genes[2:6] = [*genes[4:6], *genes[2:4]]
    other = Genotype.parse(SPACE, with_normal(str(genes)))
    assert sorted(other.cells[0].genes) == sorted(V2.cells[0].genes)
    assert other != V2
    assert V2 != str(V2)
    operations = V2.cells[0].genes[0][0], "dil_conv_5x5"
    assert Genotype.parse(SPACE, DARTS_V2.replace(*operations, 1)) != V2


def test_genotypes_of_two_spaces_differ() -> None:
    ops = ("none", "skip_connect", "max_pool_3x3")
    genes = [("skip_connect", 0), ("max_pool_3x3", 1)] * 2
    text = f"Genotype(normal={genes}, reduce={genes})"
    spaces = (darts_space(2), darts_space(2, ops))
    assert len({Genotype.parse(space, text) for space in spaces}) == 2


NESTED = """DARTS_V2 = Genotype(
  normal=[
    (('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), # step 1
    (('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), # step 2
    (('sep_conv_3x3', 1), ('skip_connect', 0)), # step 3
    (('skip_connect', 0), ('dil_conv_3x3', 2))  # step 4
  ],
  normal_concat=[2, 3, 4, 5],
  reduce=[
    (('max_pool_3x3', 0), ('max_pool_3x3', 1)), # step 1
    (('skip_connect', 2), ('max_pool_3x3', 1)), # step 2
    (('max_pool_3x3', 0), ('skip_connect', 2)), # step 3
    (('skip_connect', 2), ('max_pool_3x3', 1))  # step 4
  ],
  reduce_concat=[2, 3, 4, 5],
  connectN=None, connects=None,
)
"""


def weighted(text: str, weight: str = "0.2386") -> str:
    """Every gene of a text with a weight behind."""
    return re.sub(r"(\d)\)", rf"\1, {weight})", text)


@pytest.mark.parametrize(
    "text",
    [
        f"DARTS_V2 = {DARTS_V2}",
        f"DARTS_V2: Genotype = {DARTS_V2}\n",
        f"from genotypes import Genotype\n\n# 2.76%\nDARTS_V2 = {DARTS_V2}",
        f"05/14 09:21:08 PM genotype = {DARTS_V2}\n",
        f"05/14 09:21:08 PM {DARTS_V2}",
        f"INFO:root:{DARTS_V2}",
        f"[2020-01-01] genotype : {DARTS_V2}",
        f"genotypes.{DARTS_V2}",
        f"\ufeff{DARTS_V2}",
        f"\ufeff\n {json.dumps(V2.to_dict())}",
        DARTS_V2.replace(", ", ",\n    "),
        DARTS_V2.replace("Genotype(", "Genotype (")
        .replace("[2", "(2")
        .replace("5]", "5)"),
        weighted(DARTS_V2),
        NESTED,
        NESTED.replace(", connects=None", ""),
        weighted(NESTED, "1e-3"),
    ],
)
def test_what_stands_in_repositories_and_logs_is_read(text: str) -> None:
    assert Genotype.parse(SPACE, text).cells == V2.cells


@pytest.mark.parametrize("indent", [None, 2])
def test_nested_and_weighted_genes_in_json(indent: int | None) -> None:
    data = V2.to_dict()
    for name in ("normal", "reduce"):
        genes = [[*gene, 0.25] for gene in data[name]]
        data[name] = [genes[i : i + 2] for i in range(0, 8, 2)]
    data |= {"connectN": None, "connects": None}
    assert Genotype.parse(SPACE, json.dumps(data, indent=indent)) == V2
    artefact = {"space": "darts", "genotype": data}
    assert Genotype.parse(SPACE, json.dumps(artefact, indent=indent)) == V2


def test_fairdarts_writes_the_node_between() -> None:
    # xiaomi-automl/FairDARTS, fairdarts/genotypes.py, FairDARTS_d: not a weight behind
    # the source, but the node before it.
    text = """FairDARTS_d = Genotype(normal=[('sep_conv_3x3', 2, 0),
    ('sep_conv_5x5', 2, 1), ('dil_conv_3x3', 3, 1), ('max_pool_3x3', 3, 0),
    ('dil_conv_3x3', 4, 0), ('dil_conv_3x3', 4, 1), ('sep_conv_3x3', 5, 0),
    ('dil_conv_5x5', 5, 1)], normal_concat=range(2, 6),
    reduce=[('avg_pool_3x3', 5, 0), ('skip_connect', 5, 3), ('max_pool_3x3', 2, 0),
    ('sep_conv_5x5', 2, 1), ('avg_pool_3x3', 3, 0), ('dil_conv_5x5', 3, 2),
    ('dil_conv_3x3', 4, 3), ('avg_pool_3x3', 4, 0)], reduce_concat=range(2, 6))"""
    normal, reduce = Genotype.parse(SPACE, text).cells
    assert normal.genes[2:4] == (("dil_conv_3x3", 1), ("max_pool_3x3", 0))
    assert reduce.genes == (
        *(("max_pool_3x3", 0), ("sep_conv_5x5", 1)),
        *(("avg_pool_3x3", 0), ("dil_conv_5x5", 2)),
        *(("dil_conv_3x3", 3), ("avg_pool_3x3", 0)),
        *(("avg_pool_3x3", 0), ("skip_connect", 3)),
    )
    with pytest.raises(GenotypeError, match="'normal': node 3 has 0 genes; expected 2"):
        Genotype.parse(
            SPACE, text.replace("('dil_conv_3x3', 3, 1), ('max_pool_3x3', 3, 0),", "")
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), # step 2", "", "of 3 nodes; exp"),
        (", ('skip_connect', 0)), # step 3", ",), # step 3", "node 4 has 1 genes; exp"),
        (
            "('dil_conv_3x3', 2))",
            "('dil_conv_3x3', 2), ('skip_connect', 3))",
            "'normal': node 5 has 3 genes; expected 2",
        ),
        (
            "(('skip_connect', 0), ('dil",
            "('skip_connect', 0), (('dil",
            "are .operation",
        ),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2, 1)", "got .'dil_conv_3x3', 2, 1."),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 2, 'x')", "with or without a weight"),
        ("connects=None", "connects=[1]", "unknown fields .'connects'"),
    ],
)
def test_nested_genes_that_do_not_fit(old: str, new: str, message: str) -> None:
    assert old in NESTED
    with pytest.raises(GenotypeError, match=message):
        Genotype.parse(SPACE, NESTED.replace(old, new, 1))


def test_weights_that_are_integers_are_not_taken_for_states() -> None:
    # Either reading of three integers is refused where it does not fit.
    with pytest.raises(GenotypeError, match="'normal' are .operation, source state"):
        Genotype.parse(SPACE, weighted(DARTS_V2, "1"))


@pytest.mark.parametrize("second", [DARTS_V2, f"B = {NESTED}", "Genotype("])
def test_more_than_one_genotype_is_refused(second: str) -> None:
    with pytest.raises(GenotypeError, match="has 2 genotypes, .* lines 1 and 3; give "):
        Genotype.parse(SPACE, f"{DARTS_V2}\n\n{second}")


@pytest.mark.parametrize(
    "behind", [" or 0", "\nDARTS = DARTS_V2", ")", ".normal", "[0]"]
)
def test_something_behind_a_genotype_is_refused(behind: str) -> None:
    with pytest.raises(GenotypeError, match="not a genotype: .* nothing behind it"):
        Genotype.parse(SPACE, f"DARTS_V2 = {DARTS_V2}{behind}")


@pytest.mark.parametrize("before", ["not ", "x.y() or ", "x().", "My", "f(1) - "])
def test_a_part_of_code_is_no_genotype(before: str) -> None:
    with pytest.raises(GenotypeError, match="not a genotype: "):
        Genotype.parse(SPACE, before + DARTS_V2)
