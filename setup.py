"""Package metadata of nas_jax. Settings of the tools are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Reads `__version__` without importing the package."""
    text = (ROOT / "nas_jax" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise ValueError('nas_jax/__init__.py lacks a line `__version__ = "X.Y.Z"`')
    return match.group(1)


# jax 0.11 dropped Python 3.11, and flax before 0.12.12 does not import on jax 0.11.1
# and newer: hence two lines for flax. The other bounds are the oldest versions that the
# tests were tried with.
BASE = [
    "absl-py>=2.1",
    "flax>=0.12.8",
    'flax>=0.12.12; python_version >= "3.12"',
    "jax>=0.10.2",
    "jinja2>=3.1",
    "matplotlib>=3.10.8",
    "ml_collections>=1.1",
    "numpy>=2.2",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "pillow>=10.4",
    "scikit-learn>=1.6",
    "tensorflow-datasets>=4.9.10",
]

TEST = ["hypothesis>=6.130", "pytest>=8.3.2", "pytest-xdist>=3.6"]

EXTRAS = {
    "cuda12": ["jax[cuda12]>=0.10.2"],
    "tpu": ["jax[tpu]>=0.10.2"],
    # Compilers that need no device: libtpu by way of jax[tpu], and jax-cuda12-plugin
    # with jax-cuda12-pjrt, but no CUDA libraries, by way of jax[cuda12-local]. JAX's
    # own extras pin the versions that fit. On a machine without the device they make
    # a plain `import jax` log errors; the commands of nas_jax keep JAX from loading
    # them (nas_jax/run/compilers.py).
    "aot": ["jax[tpu,cuda12-local]>=0.10.2"],
    # The PyTorch side of the side-by-side benchmarks and of the parity tests.
    "benchmark": ["torch>=2.13"],
    "test": TEST,
    "dev": [*TEST, "mypy>=2.0", "ruff>=0.17"],
}

setup(
    name="nas_jax",
    version=read_version(),
    description="Neural architecture search in JAX: zero-shot pruning, then one-shot "
    "search on what is left.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The nas_jax authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["nas_jax*"]),
    package_data={
        "nas_jax": ["py.typed"],
        "nas_jax.memory": ["targets/*.textproto"],
        "nas_jax.report": ["template.html"],
    },
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["nas-jax = nas_jax.cli.main:main"]},
)
