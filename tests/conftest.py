"""Settings and fixtures that every test shares.

The settings are environment variables, set before anything imports JAX: so the
processes that tests start have them too, and tests that do not need JAX do not load it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    import jax

REPO_ROOT = Path(__file__).resolve().parent.parent

# A machine with an accelerator may say JAX_PLATFORMS=cuda; a plain run needs none.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compilation is most of the suite's time, and a test runs its program a few times: the
# programs are the same, their machine code is not tuned. Child processes do likewise.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# No deadline: the first example of a JAX property pays for the compilation.
hypothesis.settings.register_profile(
    "nas_jax", deadline=None, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("nas_jax")


def pytest_configure(config: pytest.Config) -> None:
    """Shares compiled programs between workers, child processes and later runs.

    Compilation is most of the suite's time. Every xdist worker runs this hook and gets
    the same folder, so a program is compiled by one of them. `pytest --cache-clear`
    empties it. Without pytest's cache plugin, JAX's own default stays.
    """
    if config.pluginmanager.hasplugin("cacheprovider"):
        folder = config.cache.mkdir("jax-compilation")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


@pytest.fixture
def key() -> jax.Array:
    """A typed PRNG key; tests split it or fold in what they need."""
    import jax

    return jax.random.key(0)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds setup.py."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The reference data that lies beside the checkout, not in it."""
    folder = REPO_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the shared data folder beside the checkout")
    return folder
