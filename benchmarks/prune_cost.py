"""A pruning round of TE-NAS side by side: PyTorch's loop, and ours.

    python -m benchmarks.prune_cost --out=prune_cost.json

Ours is what `nas-jax prune` runs, whole and compilation included; PyTorch is timed on
some of the candidates, before and after ours. docs/benchmarks.md says what is measured
and how.
"""

from __future__ import annotations

import json
import math
import os
import platform
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

from benchmarks import torch_thin
from nas_jax.contrib.te_nas import te_nas
from nas_jax.data import load_npz
from nas_jax.proxies import Batch
from nas_jax.pruning import PruneResult, prune
from nas_jax.spaces import NONE, SearchSpace, SpaceMask, get_space

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 14, "Images of the kernel.", lower_bound=2)
flags.DEFINE_integer("image_size", 32, "Height and width of random images.", 8)
flags.DEFINE_integer("nodes", 4, "Computed nodes of a cell; DARTS has 4.", 1, 4)
flags.DEFINE_integer("repeats", 3, "Weights and batches of a score.", lower_bound=1)
flags.DEFINE_integer(
    "torch_candidates", 12, "Candidates that PyTorch scores.", lower_bound=1
)
flags.DEFINE_list(
    "torch_convolutions",
    list(torch_thin.CONVOLUTIONS),
    "What computes PyTorch's kernel: onednn, its default, or native; or both.",
)
flags.DEFINE_integer("seed", 0, "Draws images, weights and candidates.")
flags.DEFINE_string("cifar", "", "An .npz data set to take images of; else N(0, 1).")
flags.DEFINE_string("out", "", "JSON file to write, one object for each row.")
flags.register_validator(
    "torch_convolutions",
    frozenset(torch_thin.CONVOLUTIONS).issuperset,
    f"must be one or more of {', '.join(torch_thin.CONVOLUTIONS)}, with commas",
)
flags.register_validator(
    "out", lambda path: Path(path).parent.is_dir(), "must lie in a folder that exists"
)

CLASSES = 10
POOL = 1024
"""Images that batches and crops are drawn from."""
REGION_BATCHES = (3, 1000, 1, 3, 3)
"""PyTorch's inputs for counting regions: batches, crops, channels, height, width."""
PAUSE_SECONDS = 0.5
"""Before every turn: the other library's threads must have gone to sleep."""
Row = dict[str, Any]


def load_images() -> tuple[np.ndarray, np.ndarray]:
    """`POOL` normalised images `[N, H, W, 3]` and their labels."""
    rng = np.random.default_rng(FLAGS.seed)
    if not FLAGS.cifar:
        size = FLAGS.image_size
        images = rng.normal(size=(POOL, size, size, 3))
        return images.astype(np.float32), rng.integers(CLASSES, size=POOL)
    data = load_npz(FLAGS.cifar)
    chosen = rng.permutation(data.num_train)[:POOL]
    images = (data.x_train[chosen] / 255 - np.array(data.mean)) / np.array(data.std)
    return images.astype(np.float32), data.y_train[chosen]


def ours(
    images: np.ndarray, labels: np.ndarray, mask: SpaceMask
) -> tuple[float, float, PruneResult]:
    """Our round: seconds, those of compilation in them, and what it found."""

    def batches(number: int, size: int) -> Batch:
        rng = np.random.default_rng([FLAGS.seed, number, size])
        chosen = rng.choice(len(images), size, replace=False)
        return Batch(
            jnp.asarray(images[chosen]), jnp.asarray(labels[chosen], jnp.int32)
        )

    strategy = te_nas(mask.space, batch_size=FLAGS.batch, repeats=FLAGS.repeats)
    key = jax.random.key(FLAGS.seed)
    start = time.perf_counter()
    result = prune(mask, strategy, batches, key=key, num_classes=CLASSES)
    return time.perf_counter() - start, result.compile_seconds, result


class Theirs:
    """PyTorch's round, a part of its candidates.

    Attributes:
        seconds: What it took so far.
        scored: Candidates so far.
    """

    def __init__(
        self, space: SearchSpace, live: torch_thin.Live, convolutions: str
    ) -> None:
        """The network of the round, of PyTorch's initial weights."""
        torch.manual_seed(FLAGS.seed)
        self.convolutions = convolutions
        self.seconds = 0.0
        self.scored = 0
        self._live = live
        self._origin = torch_thin.ThinDarts(space, CLASSES)

    def score(
        self,
        operations: Sequence[torch_thin.Operation],
        images: Sequence[torch.Tensor],
        crops: Sequence[Sequence[torch.Tensor]],
    ) -> None:
        """Scores some candidates, against the clock."""
        time.sleep(PAUSE_SECONDS)
        start = time.perf_counter()
        for operation in operations:
            torch_thin.score_candidate(
                self._origin, self._live, operation, images, crops, self.convolutions
            )
        self.seconds += time.perf_counter() - start
        self.scored += len(operations)


def their_inputs(
    images: np.ndarray,
) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """Of each repeat: a batch `[B, 3, H, W]`, and batches of one-channel crops."""
    rng = np.random.default_rng(FLAGS.seed)
    channels_first = images.transpose(0, 3, 1, 2)
    batches, crops = [], []
    for _ in range(FLAGS.repeats):
        chosen = rng.choice(len(images), FLAGS.batch, replace=False)
        batches.append(torch.from_numpy(channels_first[chosen].copy()))
        count, number, _, height, width = REGION_BATCHES
        crops.append(
            [
                torch.from_numpy(
                    random_crops(channels_first, number, height, width, rng)
                )
                for _ in range(count)
            ]
        )
    return batches, crops


def random_crops(
    images: np.ndarray, count: int, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Cut-outs of one channel, `[N, C, H, W] -> [count, 1, height, width]`."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (height, width), (2, 3))
    places = [rng.integers(size, size=count) for size in windows.shape[:4]]
    return windows[tuple(places)][:, None].copy()


def spread(operations: Sequence[Any], count: int) -> list[Any]:
    """So many different ones, evenly over cells, edges and operations.

    Multiples of the golden section of the length, the next one that has no divisor in
    common with it.
    """
    length = len(operations)
    step = max(1, round(length * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, length) > 1:
        step += 1
    return [operations[index * step % length] for index in range(count)]


def measure() -> list[Row]:
    """A row for each way in which PyTorch computes convolutions.

    Raises:
        UsageError: There are not so many candidates.
    """
    space = get_space("darts", FLAGS.nodes)
    mask = SpaceMask.full(space)
    live = mask.drop(
        (cell, edge, op) for cell, edge, op in space.operations() if op == NONE
    ).arrays()
    operations = list(torch_thin.operations_of(live, space))
    if FLAGS.torch_candidates > len(operations):
        raise app.UsageError(
            f"--torch_candidates={FLAGS.torch_candidates}: there are {len(operations)}"
        )
    chosen = spread(operations, FLAGS.torch_candidates)
    half = len(chosen) // 2
    images, labels = load_images()
    inputs = their_inputs(images)
    rounds = [Theirs(space, live, c) for c in FLAGS.torch_convolutions]
    load = os.getloadavg()[0]
    for theirs in rounds:
        theirs.score(chosen[:half], *inputs)
    time.sleep(PAUSE_SECONDS)
    seconds, compile_seconds, result = ours(images, labels, mask)
    for theirs in rounds:
        theirs.score(chosen[half:], *inputs)
    rows = []
    for theirs in rounds:
        torch_seconds = theirs.seconds * len(operations) / theirs.scored
        rows.append(
            {
                "torch_convolutions": theirs.convolutions,
                "seconds": seconds,
                "compile_seconds": compile_seconds,
                "torch_seconds": torch_seconds,
                "torch_seconds_measured": theirs.seconds,
                "torch_candidates": theirs.scored,
                "ratio": seconds / torch_seconds,
                "candidates": len(operations),
                "networks_scored": result.candidates,
                "rounds": result.rounds,
                "repeats": FLAGS.repeats,
                "batch": FLAGS.batch,
                "image_size": images.shape[1],
                "region_samples": math.prod(REGION_BATCHES[:2]),
                "images": FLAGS.cifar or "N(0, 1)",
                "versions": {
                    "python": platform.python_version(),
                    "jax": jax.__version__,
                    "torch": torch.__version__,
                },
                "cpu_count": os.cpu_count(),
                "torch_threads": torch.get_num_threads(),
                "load_before": load,
            }
        )
    return rows


def main(argv: Sequence[str]) -> None:
    """Measures, prints a line for each row, and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    torch.set_num_threads(os.cpu_count() or 1)
    rows = measure()
    for row in rows:
        print(
            f"{row['candidates']} candidates, {row['repeats']} repeats: "
            f"{row['seconds']:.1f} s with {row['compile_seconds']:.1f} s of "
            f"compilation, PyTorch ({row['torch_convolutions']}) "
            f"{row['torch_seconds']:.0f} s by {row['torch_candidates']} of them: "
            f"{row['ratio']:.3f} of PyTorch",
            flush=True,
        )
    if FLAGS.out:
        unfinished = Path(f"{FLAGS.out}.tmp")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(FLAGS.out)


if __name__ == "__main__":
    app.run(main)
