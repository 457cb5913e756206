"""Imports go down only; a module that reaches up or sideways fails here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each module or package directly under nas_jax, and what it may import from there.
# A new one needs a place here. FREE is open to all: "" is the package itself.
FREE = {"errors", "jsonable", "paths", "identity", "plugins", ""}
BASE = {"data", "tabular", "memory", "metrics", "checkpoint", "artefacts", "lock"}
BELOW_TRAINING = BASE | {"spaces", "networks"}
BELOW_PRUNING = BELOW_TRAINING | {"proxies", "training"}
BELOW_RUN = BELOW_PRUNING | {"scoring", "pruning", "oneshot"}
ALLOWED: dict[str, set[str]] = {
    **{name: set() for name in FREE | BASE},
    "": BELOW_RUN | {"config", "run"},
    "workdir": {"artefacts", "lock"},
    "spaces": set(),
    "networks": {"spaces"},
    "proxies": BELOW_TRAINING,
    "training": BELOW_TRAINING,
    "scoring": BELOW_PRUNING,
    "pruning": BELOW_PRUNING | {"scoring"},
    "oneshot": BELOW_PRUNING,
    "report": {"artefacts", "spaces", "tabular"},
    "contrib": BELOW_PRUNING | {"pruning"},
    "config": BELOW_RUN,
    "run": BELOW_RUN | {"config", "workdir"},
    "cli": BELOW_RUN | {"config", "workdir", "run", "report"},
}

# Third-party packages with one home, and parts that must stay light.
ONLY_IN = {"flax": "networks", "orbax": "checkpoint"}
HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax"}
WITHOUT_JAX = FREE | {"spaces", "tabular", "artefacts", "report"}


def imported_modules(path: Path, root: Path) -> Iterator[str]:
    """Yields the dotted name of everything that a file imports, at any depth in it.

    `from a import b` yields `a.b`: whether b is a module or a name in one, the part of
    the layering it belongs to is the same.
    """
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) + 1 - node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names)


def part_of(module: str, parts: set[str]) -> str:
    """Returns the part of nas_jax that a dotted name lies in, "" for the package."""
    first = (module.split(".") + [""])[1]
    return first if first in parts else ""


def violations(root: Path) -> list[str]:
    """Returns one line for each import under root/nas_jax that breaks the layering."""
    package = root / "nas_jax"
    parts = {p.stem for p in package.iterdir() if p.is_dir() or p.suffix == ".py"}
    parts -= {"__init__", "__pycache__"}
    found = [f"nas_jax/{part}: not in ALLOWED" for part in sorted(parts - set(ALLOWED))]
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(root).as_posix()
        own = part_of(".".join(path.relative_to(root).with_suffix("").parts), parts)
        allowed = FREE | {own} | ALLOWED.get(own, set())
        for module in imported_modules(path, root):
            top = module.split(".")[0]
            if top == "nas_jax":
                part = part_of(module, parts)
                face = part == "" and module.count(".") and "__version__" not in module
                if face and own != "":
                    found.append(f"{where}: imports the public face, {module}")
                if part not in allowed:
                    found.append(f"{where}: imports nas_jax.{part}")
            elif ONLY_IN.get(top, own) != own:
                found.append(f"{where}: imports {top}, home of nas_jax.{ONLY_IN[top]}")
            elif top in HEAVY and own in WITHOUT_JAX:
                found.append(f"{where}: imports {top}, must work without JAX")
    return found


def test_imports_of_nas_jax_go_down_only(repo_root: Path) -> None:
    files = list((repo_root / "nas_jax").rglob("*.py"))
    assert len(files) > 3
    assert violations(repo_root) == []


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / "nas_jax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


GOOD_TREE = {
    "__init__.py": "",
    "errors.py": "",
    "checkpoint.py": "from orbax.checkpoint import v1\nfrom nas_jax import errors",
    "config.py": "from nas_jax.data import sources",
    "data/__init__.py": "",
    "data/sources.py": "from ..errors import DataError",
    "spaces/__init__.py": "from .darts import DARTS",
    "spaces/darts.py": "import numpy as np\nfrom nas_jax.errors import MaskError",
    "networks/__init__.py": "import flax.linen as nn\nfrom nas_jax.spaces import DARTS",
    "proxies/__init__.py": "import jax\nfrom nas_jax import networks, __version__",
    "oneshot/__init__.py": "from nas_jax.proxies import snip\nimport nas_jax.data",
    "report/__init__.py": "from nas_jax.spaces.darts import DARTS",
    "cli/__init__.py": "from nas_jax import config, oneshot, report",
}


def test_good_tree_has_no_violation(tmp_path: Path) -> None:
    write_tree(tmp_path, GOOD_TREE)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("spaces/up.py", "from nas_jax.networks import Supernet", "nas_jax.networks"),
        ("spaces/up.py", "from nas_jax import networks", "nas_jax.networks"),
        ("spaces/up.py", "import nas_jax.networks.ops", "nas_jax.networks"),
        ("spaces/up.py", "from ..networks import Supernet", "nas_jax.networks"),
        ("spaces/up.py", "from .. import networks", "nas_jax.networks"),
        ("spaces/deep/up.py", "from ...networks.ops import sep", "nas_jax.networks"),
        ("spaces/__init__.py", "from ..networks import Supernet", "nas_jax.networks"),
        ("spaces/late.py", "def f():\n    import jax.numpy as jnp", "imports jax"),
        ("report/plot.py", "import jax", "must work without JAX"),
        ("report/plot.py", "from nas_jax.oneshot import darts", "nas_jax.oneshot"),
        ("data/sources.py", "from nas_jax.spaces import darts", "nas_jax.spaces"),
        ("proxies/snip.py", "from flax import linen", "imports flax"),
        ("oneshot/darts.py", "import orbax.checkpoint", "imports orbax"),
        ("oneshot/darts.py", "from nas_jax.config import Config", "nas_jax.config"),
        ("networks/ops.py", "from nas_jax.cli import run", "nas_jax.cli"),
        ("oneshot/darts.py", "from nas_jax import prune", "the public face"),
        ("newcomer.py", "", "not in ALLOWED"),
    ],
)
def test_each_kind_of_violation_is_found(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    write_tree(tmp_path, GOOD_TREE | {name: text})
    (line,) = violations(tmp_path)
    assert line.startswith(f"nas_jax/{name.removesuffix('.py')}")
    assert expected in line


def test_only_run_and_cli_read_the_config() -> None:
    readers = {part for part, allowed in ALLOWED.items() if "config" in allowed}
    assert readers == {"", "run", "cli"}
