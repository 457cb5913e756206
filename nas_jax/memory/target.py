"""Devices to compile for, none of which has to be there."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import re
from importlib import resources
from typing import TYPE_CHECKING, Literal

from nas_jax.errors import ConfigError
from nas_jax.paths import local_path

if TYPE_CHECKING:
    import jax

# The smallest slice that the compiler knows, of which one chip is used.
_TPU_TOPOLOGIES = {"tpu-v5e": "v5e:2x2", "tpu-v5p": "v5p:2x2x1", "tpu-v6e": "v6e:2x2"}
_SUFFIX = ".textproto"
_COMPILERS = {"tpu": ("libtpu",), "cuda": ("jax-cuda12-plugin", "jax-cuda12-pjrt")}
_NEEDED_FIELDS = (
    "gpu_device_info",
    "core_count",
    "device_memory_size",
    "cuda_compute_capability",
    "platform_name",
)
INSTALL = "pip install 'nas_jax[aot]'"


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of device.

    Attributes:
        name: What the user calls it.
        platform: Which compiler it needs.
        topology: The TPU slice, such as `v5e:2x2`; empty for others.
        config: The GPU's figures, a `GpuTargetConfig` text; empty for others.
    """

    name: str
    platform: Literal["cpu", "tpu", "cuda"]
    topology: str = ""
    config: str = ""


def target_names() -> tuple[str, ...]:
    """Names of the targets that need no file."""
    files = (resources.files("nas_jax.memory") / "targets").iterdir()
    gpus = sorted(f.name.removesuffix(_SUFFIX) for f in files if _SUFFIX in f.name)
    return ("cpu", *_TPU_TOPOLOGIES, *gpus)


def find_target(name: str) -> Target:
    """The target of one of `target_names`, or of a path of a `GpuTargetConfig` text.

    Raises:
        ConfigError: The name is unknown, or the file cannot be used.
    """
    if name == "cpu":
        return Target(name, "cpu")
    if name in _TPU_TOPOLOGIES:
        return Target(name, "tpu", topology=_TPU_TOPOLOGIES[name])
    if name in target_names():
        file = resources.files("nas_jax.memory") / "targets" / f"{name}{_SUFFIX}"
        return Target(name, "cuda", config=file.read_text(encoding="utf-8"))
    path = local_path(name)
    if not (path.exists() or path.suffix or len(path.parts) > 1):
        nearest = difflib.get_close_matches(name, target_names(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ";"
        raise ConfigError(
            f"unknown target {name!r}{hint} there are {', '.join(target_names())}, or "
            "the path of a file with a GPU's figures"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the target file {name}: {error}; give a text file, or one "
            f"of {', '.join(target_names())}"
        ) from None
    # The compiler's parser would stop at these with a message of its own.
    bare = re.sub(r"#.*", "", text)
    missing = [f for f in _NEEDED_FIELDS if not re.search(rf"\b{f}\b", bare)]
    if missing or bare.count("{") != bare.count("}"):
        what = f"lacks {', '.join(missing)}" if missing else "has unequal braces"
        raise ConfigError(
            f"the target file {name} {what}; it must be a GpuTargetConfig text, such "
            "as nas_jax/memory/targets/h100.textproto"
        )
    return Target(name, "cuda", config=text)


def require_compiler(target: Target) -> None:
    """Checks that the compiler of a target is installed; nothing is loaded.

    Raises:
        ConfigError: It is missing or of another version; the message says what to do.
    """
    for package in _COMPILERS.get(target.platform, ()):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"target {target.name} needs the compiler in the package {package}, "
                f"which is not installed: {INSTALL} (no device and no CUDA is needed)"
            ) from None
        jax_version = importlib.metadata.version("jax")
        if target.platform == "cuda" and version != jax_version:
            raise ConfigError(
                f"target {target.name} needs {package} {jax_version}, as jax is; "
                f"{version} is installed: {INSTALL}"
            )


def child_environment(target: Target) -> dict[str, str]:
    """Environment variables of the process that compiles for a target.

    The device of that process is the CPU; the target's compiler is loaded beside it.
    """
    own = {
        "cpu": {},
        # The CUDA libraries are for running a program, not for compiling one.
        "cuda": {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"},
        # Neither asks the cloud what TPU this is, nor claims one that is there.
        "tpu": {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"},
    }
    common = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return common | own[target.platform]


def target_sharding(target: Target) -> jax.sharding.Sharding:
    """Places arrays on one device of the target, for ahead-of-time compilation.

    Loads the compiler: call it in a process with `child_environment`.
    """
    import jax
    from jax.experimental import topologies

    if target.platform == "cpu":
        devices = jax.devices("cpu")
    else:
        gpu = {"topology": "1x1x1", "target_config": target.config}
        options = gpu if target.platform == "cuda" else {}
        devices = topologies.get_topology_desc(
            target.topology, target.platform, **options
        ).devices
    return jax.sharding.SingleDeviceSharding(devices[0])
