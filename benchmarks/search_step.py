"""Search steps of DARTS side by side: PyTorch's and ours, in one process.

    python -m benchmarks.search_step --out=search_step.json

docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import product, starmap
from pathlib import Path
from typing import Any

# Both sides compute on the processor, whatever else the machine has.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import torch
from absl import app, flags

from benchmarks.jax_step import JaxStep, Variant
from benchmarks.problem import HALF, UNPRUNED, Problem
from benchmarks.torch_step import LAYOUTS, TorchStep, TorchVariant
from nas_jax.cli.app import CACHE_VARIABLE, configure_jax
from nas_jax.config import SearchConfig
from nas_jax.errors import NasJaxError
from nas_jax.networks import DTYPES, REMATS, check_size

DEFAULT = SearchConfig()
FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 16, "Images in either batch.", lower_bound=1)
flags.DEFINE_integer("channels", 16, "Channels of the first cell.", lower_bound=2)
flags.DEFINE_integer("cells", 8, "Cells of the supernet.", lower_bound=3)
flags.DEFINE_integer("image_size", 32, "Height and width of an image.", lower_bound=8)
flags.DEFINE_integer("nodes", 4, "Computed nodes of a cell; DARTS has 4.", 2)
flags.DEFINE_integer("seed", 0, "Draws images, weights and the `half` mask.")
flags.DEFINE_integer("steps", 5, "Timed steps of each variant.", lower_bound=1)
flags.DEFINE_list(
    "masks",
    [UNPRUNED, HALF],
    f"What we compute: {UNPRUNED}, {HALF} (4 of 8 operations of each edge, at random) "
    "or the path of a prune.json; several with commas.",
)
flags.DEFINE_list(
    "torch_masks",
    [UNPRUNED],
    "The same for PyTorch; ratios are to the first one.",
)


def _define_choices(
    name: str, default: Iterable[str], known: Iterable[str], text: str
) -> None:
    words = f"one or more of {', '.join(known)}, with commas"
    flags.DEFINE_list(name, list(default), f"{text}: {words}.")
    flags.register_validator(name, frozenset(known).issuperset, f"must be {words}")


_define_choices("torch_layouts", LAYOUTS, LAYOUTS, "Memory layout of PyTorch's images")
_define_choices(
    "remats", [DEFAULT.remat], REMATS, "What our backward pass computes again"
)
_define_choices("dtypes", [DEFAULT.dtype], DTYPES, "Number type of our activations")
flags.DEFINE_string("out", "", "JSON file to write, one object for each variant.")
flags.register_validator(
    "out", lambda path: Path(path).parent.is_dir(), "must lie in a folder that exists"
)

PAUSE_SECONDS = 0.2
"""Before every timed step: the other library's threads must have gone to sleep."""
BUSY_LOAD = 0.5
"""Processes that wanted to run over the last minute, above which there is a warning."""
ROOT = Path(__file__).resolve().parent.parent

Row = dict[str, Any]


def measure(
    problem: Problem,
    torch_variants: Sequence[TorchVariant],
    variants: Sequence[Variant],
    steps: int,
) -> list[Row]:
    """All rows, PyTorch's first.

    Args:
        problem: What to compute.
        torch_variants: How PyTorch computes it; ratios are to the first.
        variants: How we do.
        steps: Timed steps of each.
    """
    rows: list[Row] = []
    timed: list[Callable[[], float]] = []
    with tempfile.TemporaryDirectory() as folder:
        compiled = [
            compile_seconds(problem, v, Path(folder, str(i)), Path(folder, "all"))
            for i, v in enumerate(variants)
        ]
        for theirs in torch_variants:
            say(f"torch {theirs.layout} {theirs.mask}: counting what it saves")
            step = TorchStep(problem, theirs)
            rows.append(
                row(problem, f"torch {theirs.layout} {theirs.mask}", theirs.mask)
                | {"dtype": "float32", "torch_saved_bytes": step.saved_bytes()}
            )
            timed.append(step)
        os.environ[CACHE_VARIABLE] = str(Path(folder, "all"))
        configure_jax()
        for variant, figures in zip(variants, compiled, strict=True):
            say(f"{' '.join(dataclasses.astuple(variant))}: loading to time it")
            rows.append(
                row(problem, f"jax {variant.mask}", variant.mask)
                | {"dtype": variant.dtype, "remat": variant.remat}
                | figures
            )
            timed.append(JaxStep(problem, variant))
        for result, seconds in zip(rows, alternate(timed, steps), strict=True):
            result["step_seconds_all"] = seconds
            result["step_seconds_median"] = statistics.median(seconds)
    for result in rows:
        ratio = result["step_seconds_median"] / rows[0]["step_seconds_median"]
        result["ratio_to_torch"] = ratio
    return rows


def row(problem: Problem, name: str, mask: str) -> Row:
    """What is known of a variant before it has run; None for what it has not."""
    size = dataclasses.asdict(problem)
    return {
        "variant": name,
        **size,
        "dtype": None,
        "remat": None,
        "kept_fraction": problem.mask(mask).kept_fraction,
        "step_seconds_median": None,
        "step_seconds_all": None,
        "ratio_to_torch": None,
        "trace_seconds": None,
        "compile_seconds_cold": None,
        "compile_seconds_warm": None,
        "temp_bytes": None,
        "peak_bytes": None,
        "torch_saved_bytes": None,
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "torch": torch.__version__,
        },
        "cpu_count": os.cpu_count(),
        "cpu_model": cpu_model(),
        "torch_threads": torch.get_num_threads(),
    }


def alternate(timed: Sequence[Callable[[], float]], steps: int) -> list[list[float]]:
    """Seconds of every step: A, B, C, A, B, C, ... after one untimed round."""
    seconds: list[list[float]] = [[] for _ in timed]
    for index in range(steps + 1):
        for results, step in zip(seconds, timed, strict=True):
            time.sleep(PAUSE_SECONDS)
            elapsed = step()
            if index:
                results.append(elapsed)
        shown = " ".join(f"{r[-1]:.2f}" for r in seconds if r) or "warm-up"
        say(f"step {index} of {steps}: {shown}")
    return seconds


def compile_seconds(
    problem: Problem, variant: Variant, cache: Path, collected: Path
) -> Row:
    """Trace and compile in two fresh processes, the second with the first one's cache.

    Args:
        problem: What to compute.
        variant: How.
        cache: The folder of both processes' compilation cache, which does not exist.
        collected: Receives the cache's entries, for this process.
    """
    cold = compile_in_child(problem, variant, cache)
    name = " ".join(dataclasses.astuple(variant))
    say(f"{name}: compiled in {cold['ready_seconds']:.1f} s")
    warm = compile_in_child(problem, variant, cache)
    say(f"{name}: loaded in {warm['ready_seconds']:.1f} s")
    shutil.copytree(cache, collected, dirs_exist_ok=True)
    return {
        "trace_seconds": cold["trace_seconds"],
        "compile_seconds_cold": cold["ready_seconds"],
        "compile_seconds_warm": warm["ready_seconds"],
        "temp_bytes": cold["temp_bytes"],
        "peak_bytes": cold["peak_bytes"],
    }


def compile_in_child(problem: Problem, variant: Variant, cache: Path) -> Row:
    """What `benchmarks.compile_step` prints."""
    request = {
        "problem": dataclasses.asdict(problem),
        "variant": dataclasses.asdict(variant),
    }
    command = [sys.executable, "-m", "benchmarks.compile_step", json.dumps(request)]
    environment = os.environ | {CACHE_VARIABLE: str(cache), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    fields: Row = json.loads(result.stdout)
    return fields


def cpu_model() -> str:
    """The processor's name, as well as the system knows it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


TABLE = (
    ("variant", "variant", "{}"),
    ("remat", "remat", "{}"),
    ("dtype", "dtype", "{}"),
    ("kept", "kept_fraction", "{:.2f}"),
    ("step s", "step_seconds_median", "{:.3f}"),
    ("of torch", "ratio_to_torch", "{:.2f}"),
    ("trace s", "trace_seconds", "{:.1f}"),
    ("cold s", "compile_seconds_cold", "{:.1f}"),
    ("warm s", "compile_seconds_warm", "{:.1f}"),
    ("temp MiB", "temp_bytes", "MiB"),
    ("peak MiB", "peak_bytes", "MiB"),
    ("torch saved MiB", "torch_saved_bytes", "MiB"),
)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [[title for title, _, _ in TABLE], ["---"] * len(TABLE)]
    for values in rows:
        cells = []
        for _, name, form in TABLE:
            value = values[name]
            if value is None:
                cells.append("")
            elif form == "MiB":
                cells.append(f"{value / 2**20:,.1f}")
            else:
                cells.append(form.format(value))
        lines.append(cells)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |"
        for line in lines
    )


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> None:
    """Measures, prints the table and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    problem = Problem(
        FLAGS.batch,
        FLAGS.channels,
        FLAGS.cells,
        FLAGS.image_size,
        FLAGS.nodes,
        FLAGS.seed,
    )
    torch_variants = list(
        starmap(TorchVariant, product(FLAGS.torch_masks, FLAGS.torch_layouts))
    )
    variants = list(starmap(Variant, product(FLAGS.masks, FLAGS.remats, FLAGS.dtypes)))
    torch.set_num_threads(os.cpu_count() or 1)
    # Threads that wait for each other, as PyTorch's do, suffer most from company.
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        say(f"warning: the load of this machine is {load:.1f}: run this alone on it")
    try:
        size = problem.image_size
        check_size(problem.space, size, size, problem.cells, "--cells")
        for mask in (*FLAGS.torch_masks, *FLAGS.masks):
            problem.mask(mask)
        rows = measure(problem, torch_variants, variants, FLAGS.steps)
        rows = [fields | {"load_before": load} for fields in rows]
    except NasJaxError as error:
        sys.exit(f"error: {error}")
    print(table(rows))
    if FLAGS.out:
        unfinished = Path(f"{FLAGS.out}.tmp")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(FLAGS.out)


if __name__ == "__main__":
    app.run(main)
