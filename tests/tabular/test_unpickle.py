"""Plain values come through; anything else is refused before it can run."""

from __future__ import annotations

import bz2
import os
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_jax.errors import DataError
from nas_jax.tabular.unpickle import read_pickle


def write(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(bz2.compress(pickle.dumps(content, protocol)))
    return path


def write_raw(path: Path, stream: bytes) -> Path:
    path.write_bytes(bz2.compress(stream))
    return path


class Call:
    """A pickle of it calls `function` when it is loaded by `pickle.load`."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.made_of = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.made_of


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_come_through(tmp_path: Path, protocol: int) -> None:
    content = OrderedDict(
        a=[1, 2.5, "text", None, True], b={("cifar10", 777): {"x@0": 1e-3}}, c=(2**70,)
    )
    found = read_pickle(write(tmp_path / "a", content, protocol))
    assert found == content
    assert type(found) is OrderedDict
    assert found["a"][4] is True


def test_sets_of_the_official_meta_file(tmp_path: Path) -> None:
    assert read_pickle(write(tmp_path / "a", {"evaluated": {1, 2}, "no": set()})) == {
        "evaluated": {1, 2},
        "no": set(),
    }


@pytest.mark.parametrize(
    "number",
    [
        np.float64(0.1),
        np.float32(0.25),
        np.float16(-2),
        np.int64(-(2**40)),
        np.uint8(255),
        np.bool_(True),
        np.array([1.5], ">f8")[0],
    ],
)
def test_numpy_numbers_become_python_numbers(tmp_path: Path, number: Any) -> None:
    found = read_pickle(write(tmp_path / "a", [number]))
    assert found == [number.item()]
    assert type(found[0]) is type(number.item())


def test_big_endian_numbers(tmp_path: Path) -> None:
    # The pickle of a NumPy number is always of the machine's byte order: swap it.
    stream = pickle.dumps(np.float64(1.5), 4)
    swapped = stream.replace(np.float64(1.5).tobytes(), np.array(1.5, ">f8").tobytes())
    swapped = swapped.replace(b"\x8c\x01<", b"\x8c\x01>")
    assert swapped != stream
    assert read_pickle(write_raw(tmp_path / "a", swapped)) == 1.5


def test_old_name_of_numpy_numbers(tmp_path: Path) -> None:
    stream = pickle.dumps(np.float64(1.5), 4)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    assert new in stream
    stream = stream.replace(bytes([len(new)]) + new, bytes([len(old)]) + old)
    # A frame's length would no longer fit: leave the frame away.
    stream = stream[:2] + stream[2 + 9 :]
    assert read_pickle(write_raw(tmp_path / "a", stream)) == 1.5


def test_nothing_is_called(tmp_path: Path) -> None:
    mark = tmp_path / "called"
    attack = Call(os.mkdir, str(mark))
    file = write(tmp_path / "bad.pickle.pbz2", {"arch2infos": [attack]})
    with pytest.raises(DataError, match=r"bad\.pickle\.pbz2 asks for \w+\.mkdir"):
        read_pickle(file)
    assert not mark.exists()
    # The same bytes do call it where nothing restricts them.
    pickle.loads(bz2.decompress(file.read_bytes()))
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(eval, "1"), r"builtins\.eval"),
        (Call(getattr, OrderedDict, "fromkeys"), r"builtins\.getattr"),
        (OrderedDict.fromkeys, r"builtins\.getattr"),
        (Counter("aab"), r"collections\.Counter"),
        (np.zeros(3), r"_reconstruct"),
        (Path("a"), r"pathlib"),
        (Call(np.load, "a"), r"numpy\.load"),
        (ValueError("x"), r"builtins\.ValueError"),
    ],
)
def test_other_objects_are_refused_by_name(
    tmp_path: Path, content: object, name: str
) -> None:
    with pytest.raises(DataError, match=rf"asks for .*{name}.*Allowed: collections"):
        read_pickle(write(tmp_path / "a", content))


@pytest.mark.parametrize(
    "path", ["OrderedDict.fromkeys", "OrderedDict.__init__.__globals__", "abc.sys"]
)
def test_dotted_names_lead_nowhere(tmp_path: Path, path: str) -> None:
    name = path.encode()
    stream = b"\x80\x04\x8c\x0bcollections\x8c" + bytes([len(name)]) + name + b"\x93."
    with pytest.raises(DataError, match=f"asks for collections.{path}"):
        read_pickle(write_raw(tmp_path / "a", stream))


@pytest.mark.parametrize("code", ["O8", "O", "V8", "f8,f8", "U5", "datetime64"])
def test_dtypes_that_are_no_numbers_are_refused(tmp_path: Path, code: str) -> None:
    # GLOBAL 'numpy dtype', (code, False, True), REDUCE.
    text = b"\x8c" + bytes([len(code)]) + code.encode()
    stream = b"\x80\x04cnumpy\ndtype\n(" + text + b"\x89\x88tR."
    with pytest.raises(DataError, match=f"dtype '{code}'"):
        read_pickle(write_raw(tmp_path / "a", stream))


def test_what_a_file_is_given_cannot_be_changed(tmp_path: Path) -> None:
    # GLOBAL 'numpy dtype', (None, {'__call__': 1}), BUILD sets attributes of it.
    stream = b"\x80\x04cnumpy\ndtype\nN}\x8c\x08__code__K\x01s\x86b."
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(write_raw(tmp_path / "a", stream))
    assert read_pickle(write(tmp_path / "b", np.float64(2.0))) == 2.0


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist"):
        read_pickle(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path)
    whole = bz2.compress(pickle.dumps(list(range(10_000)), 4))
    for name, content in {
        "empty": b"",
        "text": b"not bzip2 at all",
        "short": whole[:-20],
        "cut": bz2.compress(pickle.dumps(list(range(100)), 4)[:-20]),
        "plain": bz2.compress(b"a,b\n1,2\n"),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be read.*download it"):
            read_pickle(tmp_path / name)
