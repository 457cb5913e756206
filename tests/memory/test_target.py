"""Names of devices, files of figures, and compilers that are or are not installed."""

from __future__ import annotations

import importlib.metadata
import re
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


@pytest.mark.parametrize("name", ["cpu", "tpu-v5e", "tpu-v5p", "tpu-v6e"])
def test_a_target_without_a_file(name: str) -> None:
    target = find_target(name)
    assert (target.name, target.platform) == (name, name[:3])
    assert bool(target.topology) == (target.platform == "tpu")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("h100", {"core_count": 132, "l2_cache_size": 50 * 2**20, "major": 9}),
        ("a100", {"core_count": 108, "l2_cache_size": 40 * 2**20, "major": 8}),
    ],
)
def test_figures_of_a_gpu(name: str, figures: dict[str, int]) -> None:
    target = find_target(name)
    assert target.platform == "cuda"
    for field, value in figures.items():
        assert re.search(rf"\b{field}: {value}\b", target.config), field


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


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(ConfigError, match="did you mean 'h100'"):
        find_target("h10")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "cannot read the target file"),
        (b"", "lacks gpu_device_info"),
        (b"# core_count device_memory_size", "lacks gpu_device_info, core_count"),
        (None, "No such file"),
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


def test_a_file_with_a_brace_too_many(tmp_path: Path) -> None:
    file = tmp_path / "mine.textproto"
    file.write_text(find_target("h100").config + "}")
    with pytest.raises(ConfigError, match="unequal braces"):
        find_target(str(file))


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the target file"):
        find_target(str(tmp_path))


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
    ],
)
def test_a_missing_compiler(
    monkeypatch: pytest.MonkeyPatch, target: str, versions: Versions, missing: str
) -> None:
    install(monkeypatch, {"jax": "1.0", **versions})
    with pytest.raises(ConfigError, match=missing) as caught:
        require_compiler(find_target(target))
    assert "pip install 'nas_jax[aot]'" in str(caught.value)


def test_a_compiler_for_another_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"jax-cuda12-plugin": "0.9", "jax-cuda12-pjrt": "1.0"}
    install(monkeypatch, {"jax": "1.0", **packages})
    with pytest.raises(ConfigError, match="needs jax-cuda12-plugin 1.0.*0.9 is"):
        require_compiler(find_target("h100"))


def test_compilers_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        {
            "jax": "1.0",
            "libtpu": "0.1",
            "jax-cuda12-plugin": "1.0",
            "jax-cuda12-pjrt": "1.0",
        },
    )
    for name in target_names():
        require_compiler(find_target(name))


def test_a_cpu_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, {})
    require_compiler(find_target("cpu"))


def test_every_child_runs_on_the_cpu() -> None:
    for name in target_names():
        assert child_environment(find_target(name))["JAX_PLATFORMS"] == "cpu"
