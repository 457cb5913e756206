"""Keeps compilers for absent devices out of a process that does not need them.

The extra `aot` installs the compilers of NVIDIA GPUs and of TPUs, which JAX takes for
the devices: it loads them, looks for a device, and logs errors where there is none.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path

_PLUGINS = {
    "jax_cuda12_plugin": "jax_plugins.xla_cuda12",
    "jax_cuda13_plugin": "jax_plugins.xla_cuda13",
}
# Google's network card, which every machine in its cloud has.
_VENDOR, _NETWORK_CARD = "0x1ae0", "0x0042"
_TPU_VARIABLES = (
    "JAX_FORCE_TPU_INIT",
    "TPU_ACCELERATOR_TYPE",
    "TPU_LIBRARY_PATH",
    "TPU_NAME",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)


def hide_unused(keep: str = "") -> None:
    """Makes JAX start as if the compilers of absent devices were not installed.

    A compiler stays where its device may be there, or where JAX_PLATFORMS asks for it.
    Call it before JAX is imported; later, it does nothing.

    Args:
        keep: `cuda` or `tpu`, whose compiler stays in any case.
    """
    if "jax" in sys.modules:
        return
    asked = os.environ.get("JAX_PLATFORMS", "").lower()
    names = asked.replace("gpu", "cuda").split(",") if asked else []
    if keep != "cuda" and not ("cuda" in names if names else gpu_may_exist()):
        for package, plugin in _PLUGINS.items():
            _hide(package)
            # JAX warns of a plugin that its package's metadata names and that cannot
            # be imported; one that starts nothing is as good as none.
            empty = types.ModuleType(plugin)
            empty.initialize = lambda: None  # type: ignore[attr-defined]
            sys.modules[plugin] = empty
    if keep != "tpu" and not ("tpu" in names if names else tpu_may_exist(os.environ)):
        _hide("libtpu")


def gpu_may_exist(root: Path = Path("/")) -> bool:
    """Whether there is a trace of an NVIDIA GPU: the files that JAX looks for."""
    return (root / "dev/dxg").exists() or any((root / "dev").glob("nvidia*"))


def tpu_may_exist(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether there is a trace of a TPU: device files, PCI devices or variables."""
    if any(name in environment for name in _TPU_VARIABLES):
        return True
    if any((root / "dev").glob("accel*")) or any((root / "dev/vfio").glob("[0-9]*")):
        return True
    for vendor in (root / "sys/bus/pci/devices").glob("*/vendor"):
        device = vendor.with_name("device")
        if _read(vendor) == _VENDOR and _read(device) != _NETWORK_CARD:
            return True
    return False


def _hide(package: str) -> None:
    """Lets `import package` raise ImportError."""
    sys.modules[package] = None  # type: ignore[assignment]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
