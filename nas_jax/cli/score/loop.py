"""The loop of `nas-jax score`: call after call, and how wide they are."""

from __future__ import annotations

import contextlib
import time

import jax
import numpy as np
from absl import logging

from nas_jax.cli import app
from nas_jax.cli.score.results import Results
from nas_jax.cli.score.task import Task
from nas_jax.errors import ConfigError
from nas_jax.metrics import Progress, format_bytes, format_duration
from nas_jax.scoring import Scorer, widest
from nas_jax.workdir import describe_environment

IN_TURN = 4
"""Times that a program computes its width, one after another: what is the same for all
architectures is then computed once for 4 of them, 5% of the time on a CPU. More make a
signal wait, and save no more."""
MOST = 256
"""Architectures side by side on a device at most, however much memory it has: more
make a call longer, and the wait for it."""
DEFAULT_SHARE = 0.75
"""Of the memory that a device says it has; the rest is for the runtime."""


class Calls:
    """Scores by calls of compiled programs, each of equally many architectures.

    The last call repeats the last architecture, so that a width is compiled once.

    Attributes:
        compile_seconds: Seconds to trace and compile, of all widths so far.
    """

    def __init__(self, task: Task, chunk: int) -> None:
        self.devices = jax.device_count()
        self.compile_seconds = 0.0
        self._task, self._chunk = task, chunk
        self._scorers: dict[int, Scorer] = {}

    def size(self, width: int) -> int:
        """Architectures of a call of that width on each device."""
        at_once = width * self.devices
        wanted = min(self._chunk, len(self._task.architectures))
        return at_once * max(1, min(IN_TURN, wanted // at_once))

    def scores(self, width: int, first: int) -> np.ndarray:
        """Scores of a call from architecture `first` on, `[up to size, proxies]`.

        Raises:
            ConfigError: The device has too little memory.
        """
        task = self._task
        scorer = self._scorers.setdefault(
            width, Scorer(task.family.scored, task.proxies, width=width)
        )
        count = len(task.architectures)
        index = np.minimum(np.arange(first, first + self.size(width)), count - 1)
        codes = jax.tree.map(lambda x: x[index], task.codes)
        before = scorer.compile_seconds
        try:
            scores = scorer(task.params, task.batch, task.key, codes)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise ConfigError(
                f"the device has too little memory for {width} architectures at a "
                "time; give a smaller --width, --memory_budget or --batch_size"
            ) from error
        finally:
            self.compile_seconds += scorer.compile_seconds - before
        return scores[: count - first]

    def peak_bytes(self, width: int) -> int:
        """What the largest program of a width that has run needs on one device."""
        memory = self._scorers[width].memory
        assert memory is not None
        return memory.peak_bytes

    def keep(self, width: int) -> None:
        """Forgets the programs of all other widths."""
        self._scorers = {w: s for w, s in self._scorers.items() if w == width}


def choose_width(
    calls: Calls, asked: int, budget: int, most: int, platform: str, limit: int | None
) -> int:
    """How many architectures a device computes side by side."""
    if asked:
        return asked
    if platform == "cpu":
        if budget:
            logging.info("a CPU scores one at a time, whatever --memory_budget says")
        return 1
    if not budget and limit is None:
        logging.warning(
            "the device does not say how much memory it has, so architectures are "
            "scored one at a time; give --memory_budget or --width for more"
        )
        return 1
    budget = budget or int(DEFAULT_SHARE * (limit or 0))

    def peak_bytes(width: int) -> int:
        try:
            calls.scores(width, 0)
        except ConfigError:
            return budget + 1
        peak = calls.peak_bytes(width)
        logging.info("width %d: peak memory %s", width, format_bytes(peak))
        return peak

    return widest(budget, peak_bytes, min(most, MOST))


def score_all(task: Task, results: Results, call: app.Call, budget: int) -> None:
    """Scores what is left, and writes the results after every chunk.

    Raises:
        Stopped: A signal came, and what is known has been saved.
        NasJaxError: The device has too little memory, or a file cannot be written.
    """
    if not results.left:
        return
    interrupt = call.interrupt
    environment = describe_environment(call.command, task.settings["seed"])
    results.begin({**environment, "data": task.source})
    calls = Calls(task, call.flags.chunk)
    count = len(task.architectures)
    todo = f"{results.left} of {count} architectures to score"
    logging.info("%s with %d proxies; compiling", todo, len(task.proxies))
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    interrupt.doing = "while it compiled"
    most = -(-count // calls.devices)
    wanted = call.flags.width, budget, most
    width = choose_width(calls, *wanted, device.platform, limit)
    calls.keep(width)
    results.header |= {"width": width, "devices": calls.devices}
    # Where nothing can be gone on with, a signal ends the process at once.
    saving = interrupt.saving("score")
    with saving if results.resumable else contextlib.nullcontext():
        _loop(calls, results, width, call)


def _loop(calls: Calls, results: Results, width: int, call: app.Call) -> None:
    interrupt, chunk = call.interrupt, call.flags.chunk
    header, size = results.header, calls.size(width)
    done = written = len(results.rows)
    total = done + results.left
    label, unit = "score: architecture", "architectures"
    progress = Progress(total, label, start_step=done, unit=unit)
    # Without the first call, in which a device also warms up.
    steady, steady_calls = 0.0, 0
    for number in range(-(-results.left // size)):
        start, compiled = time.perf_counter(), calls.compile_seconds
        results.add(calls.scores(width, done))
        seconds = time.perf_counter() - start - (calls.compile_seconds - compiled)
        done = len(results.rows)
        header["score_seconds"] += seconds
        if number:
            steady, steady_calls = steady + seconds, steady_calls + 1
            header["archs_per_second"] = steady_calls * size / steady
        else:
            peak = calls.peak_bytes(width)
            took = format_duration(calls.compile_seconds)
            size_text = f"{width} side by side on {calls.devices} devices"
            logging.info(
                "compiled in %s: %s, %s each", took, size_text, format_bytes(peak)
            )
            header["compile_seconds"] += calls.compile_seconds
            header["peak_memory_bytes"] = max(peak, header["peak_memory_bytes"] or 0)
            header["archs_per_second"] = header["archs_per_second"] or size / seconds
        progress.update(done)
        if done - written + size > chunk or interrupt.requested or not results.left:
            results.write()
            written = done
        if results.left:
            interrupt.stop_if_requested("score", done)
