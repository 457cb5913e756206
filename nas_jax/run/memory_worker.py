"""The process that traces and compiles for `nas-jax memory`, one for each target.

It reads requests from stdin and writes answers to stdout, a JSON object a line. The
first request describes the experiment; each further one is a search step:

    {"mask": {...}, "remat": "wave", "dtype": "float32", "batch_size": 64,
     "microbatches": 1, "residuals": true, "compile": true}

An answer holds what was found out, or `error` with one line for the user.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from nas_jax.errors import NasJaxError
from nas_jax.memory import (
    MemoryUse,
    Target,
    refused_bytes,
    residual_bytes,
    target_sharding,
)
from nas_jax.run.compilers import hide_unused

Json = dict[str, Any]


class Worker:
    """An experiment on one target."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        """Read the config and the sizes of the images; load the compiler.

        Raises:
            NasJaxError: The images' sizes are unknown or do not fit the network.
        """
        from nas_jax.config import ExperimentConfig
        from nas_jax.networks import check_images
        from nas_jax.networks.registry import check_operations
        from nas_jax.run.images import check_batches
        from nas_jax.run.memory_data import image_facts
        from nas_jax.spaces import get_mask

        self._config = ExperimentConfig.from_json(setup["config"])
        self.facts = image_facts(self._config.data, **setup["images"])
        height, width, _ = self.facts.image_shape
        search, space = self._config.search, self._config.space
        self._space = get_mask(space.name, space.num_nodes).space
        check_operations(self._space)
        check_images(self._space, height, width, search.layers)
        check_batches(
            {"search": setup["largest_batch"]},
            self.facts.num_train,
            search.train_fraction,
            flag="--batch",
        )
        target = Target(**setup["target"])
        self._sharding = target_sharding(target) if setup["compile"] else None

    def answer(self, request: Mapping[str, Any]) -> Json:
        """Trace and compile one search step."""
        import jax

        from nas_jax.run.experiment import Experiment
        from nas_jax.run.search import algorithm
        from nas_jax.spaces import SpaceMask
        from nas_jax.workdir import Workdir

        search = dataclasses.replace(
            self._config.search,
            **{k: request[k] for k in ("remat", "dtype", "batch_size", "microbatches")},
        )
        config = dataclasses.replace(self._config, search=search)
        mask = SpaceMask.from_json(self._space, json.dumps(request["mask"]))
        experiment = Experiment(
            config, Workdir(""), self.facts.dataset(), self._space, mask
        )
        per_epoch = int(self.facts.num_train * search.train_fraction)
        darts, _ = algorithm(experiment, mask, max(1, per_epoch // search.batch_size))
        answer: Json = {}
        if request["residuals"]:
            started = time.perf_counter()
            images = search.batch_size // search.microbatches
            answer["residual_bytes"] = self._residuals(darts, images)
            answer["residual_seconds"] = time.perf_counter() - started
        if request["compile"]:
            answer |= self._compile(darts, experiment.augment, search.batch_size)
        # What was traced is of no use to the next step, and large.
        jax.clear_caches()
        return answer

    def _residuals(self, darts: Any, images: int) -> int:
        """What the weights' gradient keeps of one microbatch."""
        import jax
        import jax.numpy as jnp

        from nas_jax import oneshot
        from nas_jax.networks import mixture_weights
        from nas_jax.training import loss_and_accuracy

        live = darts.network.mask.arrays()

        def loss(params: Any, alphas: Any, images: Any, labels: Any) -> jax.Array:
            weights = mixture_weights(alphas, live)
            logits = darts.network.apply({"params": params}, images, weights)
            return loss_and_accuracy(logits, labels)[0]

        state = oneshot.abstract_state(darts, self.facts.image_shape)
        batch = jax.ShapeDtypeStruct((images, *self.facts.image_shape), jnp.float32)
        labels = jax.ShapeDtypeStruct((images,), jnp.int32)
        return residual_bytes(loss, state.params, state.alphas, batch, labels)

    def _compile(self, darts: Any, augment: Any, batch_size: int) -> Json:
        """Bytes, FLOPs and seconds of the compiled step."""
        import jax
        import jax.numpy as jnp

        from nas_jax import oneshot, training

        count, shape = self.facts.num_train, self.facts.image_shape
        images = training.DeviceImages(
            jax.ShapeDtypeStruct((count, *shape), jnp.uint8),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct((count,), jnp.int32),  # type: ignore[arg-type]
        )
        started = time.perf_counter()
        lowered = oneshot.lower_step(
            darts, images, augment, batch_size, shape, self._sharding
        )
        traced = time.perf_counter()
        seconds: Json = {"trace_seconds": traced - started}
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            needed = refused_bytes(str(error))
            if needed is None:
                raise
            seconds["compile_seconds"] = time.perf_counter() - traced
            # Of a program that it refuses, the compiler names the sum alone.
            return {"peak_bytes": needed, "refused": True, **seconds}
        seconds["compile_seconds"] = time.perf_counter() - traced
        cost: Any = compiled.cost_analysis() or {}
        use = dataclasses.asdict(MemoryUse.of(compiled))
        return {**use, "flops": cost.get("flops"), "refused": False, **seconds}


def _end_with(parent: int) -> None:
    """End this process soon after its parent, whatever it is compiling."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def main() -> int:
    """Answer requests until stdin ends."""
    # Compilers print to stdout too: keep it for the answers alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def write(answer: Json) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    setup = json.loads(sys.stdin.readline())
    watch = threading.Thread(target=_end_with, args=(setup["parent"],), daemon=True)
    watch.start()
    hide_unused(keep=setup["target"]["platform"])
    try:
        worker = Worker(setup)
        write(dataclasses.asdict(worker.facts))
        for line in sys.stdin:
            write(worker.answer(json.loads(line)))
    except NasJaxError as error:
        write({"error": str(error), "mistake": True})
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        write({"error": f"{type(error).__name__}: {first}", "mistake": False})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
