"""What pruning draws for its repeats, and for another seed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nas_jax.run.prune import _batch

ALL = np.arange(200)


def numbers(seed: int, number: int, pool: np.ndarray = ALL) -> tuple[int, ...]:
    """The images of a batch: each is its own number."""
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)
    dataset = SimpleNamespace(num_train=200, x_train=images, y_train=np.arange(200))
    experiment: Any = SimpleNamespace(
        config=SimpleNamespace(seed=seed),
        dataset=dataset,
        prepare=lambda key, pixels: pixels,
    )
    batch = _batch(experiment, pool, number, 20)
    assert np.array_equal(batch.images.ravel(), batch.labels)
    return tuple(np.asarray(batch.labels).tolist())


def test_seeds_and_repeats_share_no_batch() -> None:
    drawn = [numbers(seed, number) for seed in range(3) for number in range(3)]
    assert len(set(drawn)) == 9
    assert drawn[4] == numbers(1, 1)


def test_batches_are_of_the_pool() -> None:
    pool = np.arange(0, 200, 5)
    drawn = [numbers(0, number, pool) for number in range(3)]
    assert all(len(batch) == 20 and {*batch} <= {*pool.tolist()} for batch in drawn)
    assert len(set(drawn)) == 3
    # A batch that is larger has each of them once.
    assert sorted(numbers(0, 0, pool[:7])) == pool[:7].tolist()
