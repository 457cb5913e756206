"""Device memory of a program: as compiled for a device, or as traced without one.

Importing this package does not load JAX, so that a command can check its flags first.
"""

from nas_jax.memory.budget import (
    Candidate,
    NothingFitsError,
    Verdict,
    find_fitting,
    parse_bytes,
    recomputed_share,
    step_time,
)
from nas_jax.memory.residuals import residual_bytes
from nas_jax.memory.target import (
    Target,
    child_environment,
    find_target,
    require_compiler,
    target_names,
    target_sharding,
)
from nas_jax.memory.use import MemoryUse, refused_bytes

__all__ = [
    "Candidate",
    "MemoryUse",
    "NothingFitsError",
    "Target",
    "Verdict",
    "child_environment",
    "find_fitting",
    "find_target",
    "parse_bytes",
    "recomputed_share",
    "refused_bytes",
    "require_compiler",
    "residual_bytes",
    "step_time",
    "target_names",
    "target_sharding",
]
