"""Names of devices, files of figures, and compilers that are or are not installed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from nas_jax.errors import ConfigError
from nas_jax.memory import (
    child_environment,
    find_target,
    require_compiler,
    target_names,
)


def test_the_targets_that_there_are() -> None:
    assert target_names() == ("cpu", "tpu-v5e", "tpu-v5p", "tpu-v6e", "a100", "h100")
    for name in target_names():
        target = find_target(name)
        gpu = name.endswith("100")
        assert (target.name, target.platform) == (name, "cuda" if gpu else name[:3])
        assert bool(target.topology) == (target.platform == "tpu")
        assert bool(target.config) == gpu
        assert child_environment(target)["JAX_PLATFORMS"] == "cpu"
    for name, cores, major in (("h100", 132, 9), ("a100", 108, 8)):
        config = find_target(name).config
        assert (
            f"core_count: {cores}" in config
            and f"capability {{ major: {major}" in config
        )


def test_a_file_of_the_users(tmp_path: Path) -> None:
    file = tmp_path / "mine.textproto"
    file.write_text(find_target("a100").config.replace("108", "99"))
    target = find_target(str(file))
    assert target.platform == "cuda"
    assert target.name == str(file)
    assert "core_count: 99" in target.config


@pytest.mark.parametrize("name", ["h10", "H100", "tpu", "v5e", ""])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_target(name)
    assert all(known in str(caught.value) for known in target_names())
    assert ("did you mean 'h100'" in str(caught.value)) == (
        name.lower() in ("h10", "h100")
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "cannot read the target file"),
        (b"", "lacks gpu_device_info"),
        (b"# core_count device_memory_size", "lacks gpu_device_info, core_count"),
        (None, "No such file"),
        ((find_target("h100").config + "}").encode(), "unequal braces"),
    ],
)
def test_a_file_that_is_no_target(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "mine.textproto"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        find_target(str(file))
    assert str(file) in str(caught.value)


Versions = dict[str, str]


def install(monkeypatch: pytest.MonkeyPatch, versions: Versions) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("target", "versions", "missing"),
    [
        ("tpu-v5e", {}, "libtpu"),
        ("h100", {}, "jax-cuda12-plugin"),
        ("a100", {"jax-cuda12-plugin": "1.0"}, "jax-cuda12-pjrt"),
        ("h100", {"jax-cuda12-plugin": "0.9"}, "needs jax-cuda12-plugin 1.0.*0.9 is"),
    ],
)
def test_a_missing_compiler(
    monkeypatch: pytest.MonkeyPatch, target: str, versions: Versions, missing: str
) -> None:
    install(monkeypatch, {"jax": "1.0", **versions})
    with pytest.raises(ConfigError, match=missing) as caught:
        require_compiler(find_target(target))
    assert "pip install 'nas_jax[aot]'" in str(caught.value)
    packages = dict.fromkeys(("jax-cuda12-plugin", "jax-cuda12-pjrt"), "1.0")
    install(monkeypatch, {"jax": "1.0", "libtpu": "0.1", **packages})
    for name in target_names():
        require_compiler(find_target(name))
    install(monkeypatch, {})
    require_compiler(find_target("cpu"))
