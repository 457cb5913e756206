"""What the zero-shot stage costs beside the search that it precedes.

    python -m benchmarks.stage_cost --out=stage_cost.json

Neither is run whole: one chunk of candidates and a few search steps are timed, in
turns, and scaled to the numbers that a run has. Compilation of both is counted.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.jax_step import JaxStep, Variant
from benchmarks.problem import NUM_CLASSES, UNPRUNED, Problem
from nas_jax.proxies import Batch
from nas_jax.pruning import get_strategy
from nas_jax.pruning.candidates import leave_one_out
from nas_jax.pruning.rankers import RankerScores
from nas_jax.spaces import NONE

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 64, "Images in a batch, of both.", lower_bound=2)
flags.DEFINE_integer("channels", 16, "Channels of the first cell.", lower_bound=2)
flags.DEFINE_integer("cells", 8, "Cells of the supernet.", lower_bound=3)
flags.DEFINE_integer("image_size", 32, "Height and width of an image.", lower_bound=8)
flags.DEFINE_integer("nodes", 4, "Computed nodes of a cell; DARTS has 4.", 2)
flags.DEFINE_integer("epochs", 50, "Epochs of the search.", lower_bound=1)
flags.DEFINE_integer("train_images", 25_000, "Images of an epoch: half of CIFAR-10.")
flags.DEFINE_list("proxies", [], "Rankers of zero_one_shot; empty: its own.")
flags.DEFINE_integer("candidates", 8, "Candidates that are timed.", lower_bound=2)
flags.DEFINE_integer("steps", 4, "Search steps that are timed.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Draws images and weights.")
flags.DEFINE_string("out", None, "JSON file of the result.")


def measure() -> dict[str, Any]:
    """Seconds of a candidate, of a step, and of both stages scaled from them."""
    size, batch_size = FLAGS.image_size, FLAGS.batch
    problem = Problem(
        batch_size, FLAGS.channels, FLAGS.cells, size, FLAGS.nodes, FLAGS.seed
    )
    space, whole = problem.space, problem.mask(UNPRUNED)
    strategy = get_strategy(
        "zero_one_shot",
        space,
        dict(
            proxies=tuple(FLAGS.proxies),
            channels=FLAGS.channels,
            layers=FLAGS.cells,
            batch_size=batch_size,
        ),
    )
    operations = [o for o in space.operations() if o[2] != NONE]
    base = whole.drop(o for o in space.operations() if o[2] == NONE)
    live = leave_one_out(base, operations)
    live = {name: array[: FLAGS.candidates] for name, array in live.items()}
    rng = np.random.default_rng(FLAGS.seed)
    batch = Batch(
        jnp.asarray(rng.normal(size=(batch_size, size, size, 3)), jnp.float32),
        jnp.asarray(rng.integers(NUM_CLASSES, size=batch_size), jnp.int32),
    )
    scorer = RankerScores(
        strategy.rankers, base, NUM_CLASSES, chunk=FLAGS.candidates, at_once=1
    )

    def score() -> float:
        start = time.perf_counter()
        scorer(jax.random.key(FLAGS.seed), lambda number, size: batch, 0, live)
        return time.perf_counter() - start

    first = score()
    start = time.perf_counter()
    step = JaxStep(problem, Variant(UNPRUNED, "op", "float32"))
    step_compile = time.perf_counter() - start
    step()
    # In turns, so that what else the machine does meets both.
    half = max(1, FLAGS.steps // 2)
    ticks = [step() for _ in range(half)]
    chunk_seconds = score()
    ticks += [step() for _ in range(FLAGS.steps - half)]
    candidates = (1 + len(operations)) * strategy.repeats
    steps = FLAGS.epochs * (FLAGS.train_images // batch_size)
    candidate_seconds = chunk_seconds / FLAGS.candidates
    prune_seconds = candidate_seconds * candidates + scorer.compile_seconds
    search_seconds = statistics.median(ticks) * steps + step_compile
    return {
        "candidate_seconds": candidate_seconds,
        "candidates": candidates,
        "candidates_timed": FLAGS.candidates,
        "prune_compile_seconds": scorer.compile_seconds,
        "first_call_seconds": first,
        "prune_seconds": prune_seconds,
        "step_seconds": ticks,
        "steps": steps,
        "search_compile_seconds": step_compile,
        "search_seconds": search_seconds,
        "ratio": prune_seconds / search_seconds,
        "rankers": [ranker.name for ranker in strategy.rankers],
        "repeats": strategy.repeats,
        "batch": batch_size,
        "channels": FLAGS.channels,
        "cells": FLAGS.cells,
        "image_size": size,
        "epochs": FLAGS.epochs,
        "dtype": "float32",
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
        "cpu_count": os.cpu_count(),
        "load_after": os.getloadavg()[0],
    }


def main(argv: Sequence[str]) -> None:
    """Measures, prints a line, and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    row = measure()
    print(
        f"{row['candidates']} candidates at {row['candidate_seconds']:.2f} s and "
        f"{row['prune_compile_seconds']:.0f} s of compilation: "
        f"{row['prune_seconds']:.0f} s; {row['steps']} search steps at "
        f"{statistics.median(row['step_seconds']):.2f} s: "
        f"{row['search_seconds']:.0f} s; pruning is {row['ratio']:.1%} of it"
    )
    if FLAGS.out:
        Path(FLAGS.out).write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
