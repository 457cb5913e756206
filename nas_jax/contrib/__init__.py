"""Replicas of other papers' own methods, which nothing else here needs.

Importing this package registers them with the core, as a user's own package would. The
core does not import it: `nas_jax.PROVIDERS` names it, and registries look there.
"""

from nas_jax.contrib import te_nas

__all__ = ["te_nas"]
