"""Neural architecture search in JAX: prune the space first, then search what is left.

Importing this package is cheap: it does not import JAX. Import the part you need,
such as `nas_jax.spaces` or `nas_jax.oneshot`.
"""

__version__ = "0.1.0"

PROVIDERS = ("nas_jax.contrib",)
"""Modules that register what the core does not know, in the registry's own time."""
