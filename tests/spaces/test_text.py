from __future__ import annotations

from pathlib import Path

import pytest

from nas_jax.errors import GenotypeError, MaskError
from nas_jax.paths import PathError
from nas_jax.spaces import SpaceMask, darts_space
from nas_jax.spaces.text import read_text

SPACE = darts_space()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(mark + "é\n".encode())
    assert read_text(tmp_path / "a.txt", MaskError, "") == "é\n"


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mask.json").write_text(SpaceMask.full(SPACE).to_json())
    assert SpaceMask.load(SPACE, "~/mask.json") == SpaceMask.full(SPACE)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(GenotypeError, match="cannot read .*a.txt: No such .*; give b"):
        read_text(tmp_path / "a.txt", GenotypeError, "give b")
    with pytest.raises(MaskError, match="cannot read .*: Is a directory; give b"):
        read_text(tmp_path, MaskError, "give b")
    # Text of an editor that writes UTF-16.
    (tmp_path / "c.txt").write_text("text", encoding="utf-16")
    with pytest.raises(MaskError, match="cannot read .*c.txt as utf-8: .*; give b"):
        read_text(tmp_path / "c.txt", MaskError, "give b")
    with pytest.raises(PathError, match="gs://bucket/mask.json is a remote path"):
        SpaceMask.load(SPACE, "gs://bucket/mask.json")
