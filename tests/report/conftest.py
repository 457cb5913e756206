"""A finished run's working directory, filled once and copied for each test."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module that makes up working directories."""
    # Test folders are no packages, so the helper is loaded from its file.
    path = Path(__file__).with_name("fake_workdir.py")
    spec = importlib.util.spec_from_file_location("fake_workdir", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def finished(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with every artefact; tests must not change it."""
    return fake.fill(tmp_path_factory.mktemp("finished"), steps=24, epochs=6)


@pytest.fixture
def workdir(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished working directory that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
