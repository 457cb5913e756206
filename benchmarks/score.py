"""Proxies of NAS-Bench-201 architectures side by side: PyTorch one by one, and ours.

    python -m benchmarks.score --out=score.json

PyTorch builds the network of each architecture and scores it, as NASLib does; ours is
what `nas-jax score` runs. Both score the same architectures on the same images, a chunk
each in turn. docs/benchmarks.md says what is measured and how.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Both sides compute on the processor, whatever else the machine has.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl import app, flags

from benchmarks import torch_scores
from nas_jax.proxies import Batch
from nas_jax.scoring import ScoredArchitectures, Scorer, sample_genotypes
from nas_jax.spaces import Genotype, nasbench201_space
from nas_jax.spaces.nasbench201 import operations_of

FLAGS = flags.FLAGS
flags.DEFINE_list("proxies", list(torch_scores.PROXIES), "Which; several with commas.")
flags.DEFINE_list(
    "sizes", ["16x5", "4x1"], "Channels and cells of a stage, as CHANNELSxCELLS."
)
flags.DEFINE_integer("num", 200, "Architectures.", lower_bound=1)
flags.DEFINE_integer("chunk", 20, "Architectures in a turn.", lower_bound=1)
flags.DEFINE_integer("batch", 64, "Images.", lower_bound=2)
flags.DEFINE_integer("image_size", 32, "Height and width.", lower_bound=4)
flags.DEFINE_integer("seed", 0, "Draws architectures, images and weights.")
flags.DEFINE_string(
    "out", "", "JSON file to write, one object for each proxy and size."
)

CLASSES = 10
PAUSE_SECONDS = 0.2
"""Before every turn: the other library's threads must have gone to sleep."""
Row = dict[str, Any]


def measure(proxy: str, channels: int, cells: int, genotypes: list[Genotype]) -> Row:
    """Architectures per second of both, over alternating chunks."""
    size = FLAGS.image_size
    rng = np.random.default_rng(FLAGS.seed)
    images = rng.normal(size=(FLAGS.batch, size, size, 3)).astype(np.float32)
    labels = rng.integers(CLASSES, size=FLAGS.batch)
    their_images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    their_labels = torch.from_numpy(labels)

    family = ScoredArchitectures(
        nasbench201_space(), CLASSES, channels=channels, cells=cells
    )
    key = jax.random.key(FLAGS.seed)
    params = family.init(key, (size, size, 3))
    batch = Batch(jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    scorer = Scorer(family.scored, [proxy])
    torch.manual_seed(FLAGS.seed)
    seconds: dict[str, list[float]] = {"ours": [], "torch": []}
    scores: dict[str, list[float]] = {"ours": [], "torch": []}
    for start in range(0, len(genotypes), FLAGS.chunk):
        chunk = genotypes[start : start + FLAGS.chunk]
        time.sleep(PAUSE_SECONDS)
        begin = time.perf_counter()
        values = scorer(params, batch, key, family.encode(chunk))
        seconds["ours"].append(time.perf_counter() - begin)
        scores["ours"] += values[:, 0].tolist()
        time.sleep(PAUSE_SECONDS)
        begin = time.perf_counter()
        for genotype in chunk:
            network = torch_scores.Network(
                operations_of(genotype), channels, cells, CLASSES
            )
            score = torch_scores.PROXIES[proxy]
            scores["torch"].append(score(network, their_images, their_labels))
        seconds["torch"].append(time.perf_counter() - begin)
    # The first chunk holds our compilation, and PyTorch's first touch of everything.
    steady = {k: FLAGS.chunk / statistics.median(v[1:]) for k, v in seconds.items()}
    total = {k: len(genotypes) / sum(v) for k, v in seconds.items()}
    return {
        "proxy": proxy,
        "channels": channels,
        "cells": cells,
        "batch": FLAGS.batch,
        "architectures": len(genotypes),
        "archs_per_second": steady["ours"],
        "torch_archs_per_second": steady["torch"],
        "ratio": steady["ours"] / steady["torch"],
        "compile_seconds": scorer.compile_seconds,
        "archs_per_second_with_compilation": total["ours"],
        "torch_archs_per_second_from_the_start": total["torch"],
        "ratio_with_compilation": total["ours"] / total["torch"],
        "rank_agreement": spearman_of(scores["ours"], scores["torch"]),
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "torch": torch.__version__,
        },
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }


def spearman_of(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """How far both rank alike: their weights differ, the architectures do not.

    None where that is undefined, as where one side gives all the same score.
    """
    from nas_jax.tabular import spearman

    found = spearman(ours, theirs, samples=1).value
    return found if math.isfinite(found) else None


def main(argv: Sequence[str]) -> None:
    """Measures, prints a line for each proxy and size, and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    if FLAGS.num < 2 * FLAGS.chunk or FLAGS.num % FLAGS.chunk:
        raise app.UsageError("--num must be two or more whole --chunk")
    if unknown := set(FLAGS.proxies) - set(torch_scores.PROXIES):
        raise app.UsageError(f"no PyTorch baseline of {', '.join(sorted(unknown))}")
    torch.set_num_threads(os.cpu_count() or 1)
    rows: list[Row] = []
    for size in FLAGS.sizes:
        channels, cells = map(int, size.split("x"))
        genotypes = sample_genotypes(nasbench201_space(), FLAGS.num, FLAGS.seed)
        for proxy in FLAGS.proxies:
            row = measure(proxy, channels, cells, genotypes)
            rows.append(row | {"load_before": os.getloadavg()[0]})
            print(
                f"{proxy}, C={channels}, N={cells}: {row['archs_per_second']:.2f} a "
                f"second, PyTorch {row['torch_archs_per_second']:.2f}: "
                f"{row['ratio']:.2f} times; with {row['compile_seconds']:.1f} s of "
                f"compilation {row['ratio_with_compilation']:.2f} times",
                flush=True,
            )
            if FLAGS.out:
                unfinished = Path(f"{FLAGS.out}.tmp")
                text = json.dumps(rows, indent=2) + "\n"
                unfinished.write_text(text, encoding="utf-8")
                unfinished.replace(FLAGS.out)


if __name__ == "__main__":
    app.run(main)
