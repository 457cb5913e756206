"""How many bytes the search step of a mask needs, by a device's own compiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from nas_jax.memory import find_target
from nas_jax.metrics import format_bytes
from nas_jax.run.experiment import Experiment
from nas_jax.run.memory_child import Child
from nas_jax.spaces import SpaceMask


@contextlib.contextmanager
def step_bytes(
    experiment: Experiment, target: str
) -> Iterator[Callable[[SpaceMask], int]]:
    """A function that compiles the search step of a mask for a device.

    Each call compiles in a process of the device's compiler, which ends with the block.

    Args:
        experiment: Its search settings are the step's.
        target: The device, as `nas-jax memory` names it.

    Raises:
        NasJaxError: There is no such target, or its compiler is not installed.
    """
    search, images = experiment.config.search, experiment.dataset
    setup = {
        "config": experiment.config.to_json(),
        "images": {
            "image_shape": "x".join(map(str, images.image_shape)),
            "num_classes": images.num_classes,
            "num_train": images.num_train,
        },
        "largest_batch": search.batch_size,
        "compile": True,
    }
    request: dict[str, Any] = {
        name: getattr(search, name)
        for name in ("remat", "dtype", "batch_size", "microbatches")
    }
    with Child(find_target(target), setup) as child:

        def measure(mask: SpaceMask) -> int:
            answer = child.ask(
                {**request, "mask": mask.to_dict(), "residuals": False, "compile": True}
            )
            needed = int(answer["peak_bytes"])
            logging.info(
                "prune: with %d operations a step needs %s on %s (compiled in %.0f s)",
                mask.num_kept,
                format_bytes(needed),
                target,
                answer["trace_seconds"] + answer["compile_seconds"],
            )
            return needed

        yield measure
