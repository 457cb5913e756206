"""The process that traces and compiles search steps for a target, and its parent's end.

`Child` starts it, and a JSON object a line goes each way. The first request describes
the experiment; each further one is a search step:

    {"mask": {...}, "remat": "wave", "dtype": "float32", "batch_size": 64,
     "microbatches": 1, "residuals": true, "compile": true}

An answer holds what was found out, or `error` with one line for the user.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas_jax
from nas_jax.errors import NasJaxError
from nas_jax.memory import (
    MemoryUse,
    Target,
    child_environment,
    refused_bytes,
    residual_bytes,
    target_sharding,
)
from nas_jax.plugins import load_plugins
from nas_jax.run.compilers import hide_unused

if TYPE_CHECKING:
    from nas_jax.oneshot import OneShotAlgorithm

Json = dict[str, Any]


class CompilerFailedError(NasJaxError):
    """The process of a target's compiler died or gave up."""


class Child:
    """The process of one target; a context manager, at whose end it is gone.

    Attributes:
        target: What it compiles for.
        facts: `image_shape`, `num_classes` and `num_train` as the process knows them.
    """

    def __init__(self, target: Target, setup: Json) -> None:
        """Start the process, and wait until it has checked the experiment.

        Raises:
            NasJaxError: The process refuses the experiment, or dies.
        """
        self.target = target
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        source = str(Path(nas_jax.__file__).parents[1])
        path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        # Seconds are those of a first compilation.
        own = {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nas_jax.run.memory_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env={**os.environ, **child_environment(target), **own},
        )
        try:
            who = {"target": dataclasses.asdict(target), "parent": os.getpid()}
            self.facts = self.ask({**who, **setup})
        except BaseException:
            self.close()
            raise

    def ask(self, request: Json) -> Json:
        """Send a request and wait for its answer.

        Raises:
            NasJaxError: What the process refuses; CompilerFailedError if it fails.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise CompilerFailedError(self._last_words())
        answer: Json = json.loads(line)
        if "error" not in answer:
            return answer
        if answer["mistake"]:
            raise NasJaxError(answer["error"])
        raise CompilerFailedError(
            f"compiling for {self.target.name} failed: {answer['error']}"
        )

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        log = self._log.read()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if code == -signal.SIGKILL:
            how += "; this machine may lack memory for it"
        elif "triton" in log:
            # A defect of the compiler that the device's own process would meet too.
            how += (
                "; XLA_FLAGS=--xla_gpu_enable_triton_gemm=false may help, here and on "
                "the device"
            )
        # What a failed check of the compiler says stands above its stack.
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        failed = [line for line in lines if "Check failed" in line]
        said = (failed or lines or ["nothing"])[-1]
        return (
            f"the process that compiles for {self.target.name} {how}; it said: {said}"
        )


class _Compiler:
    """Inside the process: an experiment on one target."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        from nas_jax.config import ExperimentConfig
        from nas_jax.networks import check_size
        from nas_jax.run.images import check_batches
        from nas_jax.run.memory_data import sized_images
        from nas_jax.spaces import get_mask

        self._config = ExperimentConfig.from_json(setup["config"])
        self._images = sized_images(self._config.data, **setup["images"])
        height, width, _ = self._images.image_shape
        search, space = self._config.search, self._config.space
        self._space = get_mask(space.name, space.num_nodes).space
        check_size(self._space, height, width, search.layers, "search.layers")
        check_batches(
            {"search": setup["largest_batch"]},
            self._images.num_train,
            search.train_fraction,
            flag="--batch",
        )
        target = Target(**setup["target"])
        self._sharding = target_sharding(target) if setup["compile"] else None

    def facts(self) -> Json:
        names = ("image_shape", "num_classes", "num_train")
        return {name: getattr(self._images, name) for name in names}

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
        experiment = Experiment(config, Workdir(""), self._images, self._space, mask)
        per_epoch = int(self._images.num_train * search.train_fraction)
        found = algorithm(experiment, mask, max(1, per_epoch // search.batch_size))
        answer: Json = {}
        if request["residuals"]:
            started = time.perf_counter()
            images = search.batch_size // search.microbatches
            answer["residual_bytes"] = self._residuals(found, images)
            answer["residual_seconds"] = time.perf_counter() - started
        if request["compile"]:
            answer |= self._compile(found, experiment.augment, search.batch_size)
        # What was traced is of no use to the next step, and large.
        jax.clear_caches()
        return answer

    def _residuals(self, algorithm: OneShotAlgorithm, images: int) -> int:
        """What the weights' gradient keeps of one microbatch."""
        import jax
        import jax.numpy as jnp

        from nas_jax import oneshot

        shape = self._images.image_shape
        state = oneshot.abstract_state(algorithm, shape)
        batch = (
            jax.ShapeDtypeStruct((images, *shape), jnp.float32),
            jax.ShapeDtypeStruct((images,), jnp.int32),
        )
        return residual_bytes(
            lambda params, state, *batch_and_key: algorithm.loss(
                state._replace(params=params), *batch_and_key
            )[0],
            state.params,
            state,
            batch,
            jax.eval_shape(lambda: jax.random.key(0)),
        )

    def _compile(
        self, algorithm: OneShotAlgorithm, augment: Any, batch_size: int
    ) -> Json:
        """Bytes, FLOPs and seconds of the compiled step."""
        import jax
        import jax.numpy as jnp

        from nas_jax import oneshot, training

        count, shape = self._images.num_train, self._images.image_shape
        images = training.DeviceImages(
            jax.ShapeDtypeStruct((count, *shape), jnp.uint8),  # type: ignore[arg-type]
            jax.ShapeDtypeStruct((count,), jnp.int32),  # type: ignore[arg-type]
        )
        started = time.perf_counter()
        lowered = oneshot.lower_step(
            algorithm, images, augment, batch_size, shape, self._sharding
        )
        traced = time.perf_counter()
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            needed = refused_bytes(str(error))
            if needed is None:
                raise
            # Of a program that it refuses, the compiler names the sum alone.
            answer: Json = {"peak_bytes": needed, "refused": True}
        else:
            cost: Any = compiled.cost_analysis() or {}
            answer = dataclasses.asdict(MemoryUse.of(compiled))
            answer |= {"flops": cost.get("flops"), "refused": False}
        ended = time.perf_counter()
        seconds = {"trace_seconds": traced - started, "compile_seconds": ended - traced}
        return answer | seconds


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
        load_plugins()
        compiler = _Compiler(setup)
        write(compiler.facts())
        for line in sys.stdin:
            write(compiler.answer(json.loads(line)))
    except NasJaxError as error:
        write({"error": str(error), "mistake": True})
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        write({"error": f"{type(error).__name__}: {first}", "mistake": False})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
