"""Compilers of absent devices: what counts as a device, and a quiet start of JAX."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas_jax.run.compilers import gpu_may_exist, tpu_may_exist

BOTH = ["libtpu", "jax_cuda12_plugin"]
CASES = [
    # What must stay, the environment, and what is hidden.
    ("", {}, BOTH),
    ("", {"JAX_PLATFORMS": "cpu"}, BOTH),
    ("", {"JAX_PLATFORMS": ""}, BOTH),
    ("", {"JAX_PLATFORMS": "cuda,cpu"}, ["libtpu"]),
    ("", {"JAX_PLATFORMS": "gpu"}, ["libtpu"]),
    ("", {"JAX_PLATFORMS": "tpu"}, ["jax_cuda12_plugin"]),
    ("", {"JAX_FORCE_TPU_INIT": "1"}, ["jax_cuda12_plugin"]),
    ("tpu", {"JAX_PLATFORMS": "cpu"}, ["jax_cuda12_plugin"]),
    ("cuda", {"JAX_PLATFORMS": "cpu"}, ["libtpu"]),
]
HIDE = """
import json, os, sys
from nas_jax.run.compilers import hide_unused

both = ("libtpu", "jax_cuda12_plugin")
found = []
for keep, environment, _ in json.loads(sys.argv[1]):
    os.environ.update(environment)
    hide_unused(keep)
    found.append([name for name in both if name in sys.modules])
    assert all(sys.modules.pop(name, None) is None for name in both)
    for name in environment:
        del os.environ[name]
sys.modules["jax"] = sys  # Once JAX is there, nothing is hidden.
hide_unused()
assert not set(both) & set(sys.modules)
print(json.dumps(found))
"""
SHOW = """
import sys
from nas_jax.run.compilers import hide_unused
hide_unused()
{rest}
import jax
jax.numpy.ones(3) + 1
"""


def start(code: str, *arguments: str) -> tuple[str, str]:
    """What a process prints, and what it prints on stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TPU_"))}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def has_devices() -> bool:
    return gpu_may_exist() or tpu_may_exist(os.environ)


@pytest.fixture
def no_devices() -> None:
    if has_devices():
        pytest.skip("needs a machine without an accelerator")


def write(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("device", ["nvidia0", "dxg"])
def test_files_of_a_gpu(tmp_path: Path, device: str) -> None:
    write(tmp_path / "dev" / "null")
    assert not gpu_may_exist(tmp_path)
    write(tmp_path / "dev" / device)
    assert gpu_may_exist(tmp_path)
    assert not tpu_may_exist({}, tmp_path)


@pytest.mark.parametrize("device", ["accel0", "vfio/0"])
def test_files_of_a_tpu(tmp_path: Path, device: str) -> None:
    # Any machine that can hand devices to guests has the first.
    write(tmp_path / "dev" / "vfio" / "vfio")
    assert not tpu_may_exist({}, tmp_path)
    write(tmp_path / "dev" / device)
    assert tpu_may_exist({}, tmp_path)
    assert not gpu_may_exist(tmp_path)


@pytest.mark.parametrize(
    ("vendor", "device", "expected"),
    [
        ("0x1ae0", "0x0063", True),  # TPU v5e
        ("0x1ae0", "0x0042", False),  # Google's network card
        ("0x8086", "0x0063", False),
    ],
)
def test_pci_device_of_a_tpu(
    tmp_path: Path, vendor: str, device: str, expected: bool
) -> None:
    folder = tmp_path / "sys/bus/pci/devices/0000:00:04.0"
    write(folder / "vendor", f"{vendor}\n")
    write(folder / "device", f"{device}\n")
    assert tpu_may_exist({}, tmp_path) is expected


@pytest.mark.parametrize("name", ["JAX_FORCE_TPU_INIT", "TPU_NAME"])
def test_variables_of_a_tpu(tmp_path: Path, name: str) -> None:
    assert tpu_may_exist({name: ""}, tmp_path)
    assert not tpu_may_exist({"TPU_SKIP_MDS_QUERY": "1"}, tmp_path)


@pytest.mark.usefixtures("no_devices")
def test_what_is_hidden() -> None:
    found, _ = start(HIDE, json.dumps(CASES))
    assert json.loads(found) == [hidden for _, _, hidden in CASES]


def compilers_are_installed() -> bool:
    try:
        return bool(
            importlib.metadata.version("libtpu")
            and importlib.metadata.version("jax-cuda12-plugin")
        )
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.usefixtures("no_devices")
def test_jax_starts_without_a_word() -> None:
    if not compilers_are_installed():
        pytest.skip("needs the extra aot; without it there is nothing to silence")
    assert start(SHOW.format(rest=""))[1] == ""
    # The same start with everything in sight complains: this test can fail.
    rest = "for name in [n for n in sys.modules if sys.modules[n] is None]:\n"
    rest += "    del sys.modules[name]\n"
    rest += "sys.modules.pop('jax_plugins.xla_cuda12')"
    assert "xla_cuda12" in start(SHOW.format(rest=rest))[1]
