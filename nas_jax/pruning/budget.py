"""What a search step needs of a device, so that pruning can stop where it fits."""

from __future__ import annotations

import os
from collections.abc import Callable

import jax

from nas_jax import memory
from nas_jax.spaces import SpaceMask

Lower = Callable[[SpaceMask, jax.sharding.Sharding | None], jax.stages.Lowered]
"""Traces the step of a mask, its arguments placed by the sharding if there is one."""


def step_bytes(lower: Lower, target: str = "") -> Callable[[SpaceMask], int]:
    """Bytes of a mask's search step by a device's own compiler, for `Target`.

    The step is compiled and never run, in this process; a process of the device's
    compiler, as `nas-jax prune` has it, is spared what this one keeps of JAX.

        def lower(mask, where):
            search = oneshot.darts(...)  # of the mask
            return oneshot.lower_step(search, images, augment, 64, shape, where)

        Target(budget_bytes=2 * 2**30, step_bytes=step_bytes(lower, "h100"))

    Args:
        lower: Traces the step, such as by `oneshot.lower_step`.
        target: A device that need not be there, see `memory.target_names`; empty is
            the one that is.

    Raises:
        ConfigError: There is no such target, or its compiler is not installed.
    """
    sharding = None
    if target:
        found = memory.find_target(target)
        memory.require_compiler(found)
        for name, value in memory.child_environment(found).items():
            # The device of this process stays what it is.
            if name != "JAX_PLATFORMS":
                os.environ.setdefault(name, value)
        sharding = memory.target_sharding(found)

    def measure(mask: SpaceMask) -> int:
        lowered = lower(mask, sharding)
        try:
            return memory.MemoryUse.of(lowered.compile()).peak_bytes
        except jax.errors.JaxRuntimeError as error:
            # A TPU's compiler refuses what does not fit, and says how much it is.
            needed = memory.refused_bytes(str(error))
            if needed is None:
                raise
            return needed

    return measure
