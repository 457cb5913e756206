"""Tables from CSV: the numbers, and one clear error for each kind of wrong file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from nas_jax.errors import ConfigError, DataError
from nas_jax.tabular import load_table

TEXT = "index,arch_str,acc,score\n0,|a~0|,90.5,-1e8\n1,|b~0|,80,2.5\n2,|c~0|,,inf\n"


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_rows_and_lookup(tmp_path: Path) -> None:
    table = load_table(write(tmp_path, TEXT))
    assert table.architectures == ("|a~0|", "|b~0|", "|c~0|")
    assert list(table.columns) == ["index", "acc", "score"]
    assert len(table) == 3
    assert table.column("acc").dtype == np.float64
    np.testing.assert_array_equal(table.column("acc"), [90.5, 80.0, np.nan])
    np.testing.assert_array_equal(table.column("score"), [-1e8, 2.5, np.inf])
    np.testing.assert_array_equal(table.column("acc", ["|b~0|", "|a~0|"]), [80.0, 90.5])


def test_failed_value_becomes_nan(tmp_path: Path) -> None:
    table = load_table(write(tmp_path, TEXT), failed=-1e8)
    np.testing.assert_array_equal(table.column("score"), [np.nan, 2.5, np.inf])
    np.testing.assert_array_equal(table.column("acc"), [90.5, 80.0, np.nan])


def test_own_table_with_chosen_columns(tmp_path: Path) -> None:
    text = '\ufeffnet , note,x\r\n"a, b",good,1\r\n\r\n"c\nd",bad,2\r\n'
    table = load_table(write(tmp_path, text), "net", ["x"])
    assert table.architectures == ("a, b", "c\nd")
    assert table.column("x", ["c\nd"]) == [2.0]
    with pytest.raises(DataError, match="line 2: 'good' in the column 'note' is not"):
        load_table(write(tmp_path, text), "net")


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    for name in ("t.csv.gz", "t.csv"):
        (tmp_path / name).write_bytes(gzip.compress(TEXT.encode()))
        assert len(load_table(tmp_path / name)) == 3


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    table = load_table(path)
    with pytest.raises(
        ConfigError, match=r"t\.csv has no column 'accc'; allowed: index, acc, score"
    ):
        table.column("accc")
    with pytest.raises(ConfigError, match=r"no architecture '\|z~0\|' among its 3"):
        table.column("acc", ["|a~0|", "|z~0|"])
    with pytest.raises(
        ConfigError, match="no column 'net'; allowed: index, arch_str, acc, score"
    ):
        load_table(path, "net")
    with pytest.raises(ConfigError, match="no column 'x'; allowed"):
        load_table(path, columns=["acc", "x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("arch_str,acc\n", "no row below its header"),
        ("arch_str,acc\na,1\nb,x1\n", "line 3: 'x1' in the column 'acc' is not a num"),
        ("arch_str,acc\n\na,1\nb\n", "line 4: 1 cells, but the header names 2"),
        ("arch_str,acc\na,1\nb,2\na,3\n", "lines 2 and 4: the architecture 'a' stands"),
        ("arch_str,acc\n ,1\n", "line 2: the architecture has no name"),
        ("arch_str,acc,acc\na,1,2\n", "names the column 'acc' more than once"),
        ('arch_str,acc\n"a,1\n', "not CSV"),
    ],
)
def test_wrong_text(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_table(write(tmp_path, text))


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv cannot be read \(No such file"):
        load_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load_table(tmp_path)
    for name, content in {
        "cut.csv.gz": gzip.compress(TEXT.encode())[:-12],
        "broken.csv.gz": b"\x1f\x8b" + b"x" * 40,
        "latin.csv": "arch_str,acc\n\xe9,1\n".encode("latin-1"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is no table"):
            load_table(tmp_path / name)


def test_published_tables(shared_data: Path) -> None:
    folder = shared_data / "nb201"
    if not folder.is_dir():
        pytest.skip("needs the NAS-Bench-201 tables in the shared data folder")
    table = load_table(folder / "nb201_cifar10.csv.gz")
    assert len(table) == 15_625
    np.testing.assert_array_equal(table.column("index"), np.arange(15_625))
    best = int(np.argmax(table.column("c10_test")))
    assert (best, table.column("c10_test")[best]) == (6111, 94.3733)
    assert table.column("params_m")[0] == 0.129306
    path = folder / "nb201_naslib_proxies_cifar10.csv.gz"
    proxies = load_table(path, failed=-1e8)
    assert (len(proxies), len(proxies.columns)) == (9445, 13)
    failed = {name for name, c in proxies.columns.items() if np.isnan(c).any()}
    assert failed == {"epe_nas", "jacov", "nwot", "zen"}
