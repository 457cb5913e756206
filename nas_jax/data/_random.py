"""Seeded NumPy generators, one independent stream for each use of a seed."""

from __future__ import annotations

import enum

import numpy as np

from nas_jax.errors import DataError


class Stream(enum.IntEnum):
    """The uses of a seed. Numbers are part of a run's identity: never renumber."""

    WEIGHT_BATCHES = 0
    ALPHA_BATCHES = 1
    STRATIFIED_SPLIT = 2
    BILEVEL_SPLIT = 3
    SYNTHETIC = 4


def generator(seed: int, stream: Stream, epoch: int = 0) -> np.random.Generator:
    """A generator that depends on nothing but its arguments.

    Raises:
      DataError: the seed or the epoch is negative.
    """
    if seed < 0 or epoch < 0:
        raise DataError(
            f"seed={seed}, epoch={epoch}: both must be integers of at least 0."
        )
    sequence = np.random.SeedSequence((seed, epoch), spawn_key=(int(stream),))
    return np.random.Generator(np.random.PCG64(sequence))
