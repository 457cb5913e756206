"""The operations of a config: what pruning and search start from. Loads no JAX."""

from __future__ import annotations

from nas_jax.config import SpaceConfig
from nas_jax.spaces import SpaceMask, get_mask


def start_mask(config: SpaceConfig) -> SpaceMask:
    """The space that a config names, and what its mask keeps of that.

    Raises:
        MaskError: There is no such space, or the mask cannot be used.
    """
    start = get_mask(config.name, config.num_nodes)
    if config.mask:
        start &= SpaceMask.load(start.space, config.mask)
    return start
