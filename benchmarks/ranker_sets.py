"""Which rankers prune best: masks of sets of them, from the scores of each alone.

    python -m benchmarks.ranker_sets --images=cifar10_subset.npz \\
        --table=nb201_cifar10.csv.gz --out=ranker_sets.json

An importance of `zero_one_shot` is a sum over rankers, so every ranker scores each
operation once, and any set of them prunes by the sum of what its members found. A row
is one set and level: what the masks of two seeds share of what they keep and, with a
table of accuracies, what they keep is worth. In NAS-Bench-201 that is the mean and the
best accuracy of all architectures that are left; in the DARTS space, where a table has
a sample of them, the mean effect of the operations that are left (see
`ranker_masks.effects`).
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
from collections.abc import Sequence

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from absl import app, flags

from benchmarks import ranker_masks
from benchmarks import tradeoff_run as run
from benchmarks.files import read_accuracies, write_json
from nas_jax import data
from nas_jax.spaces import get_space

FLAGS = flags.FLAGS
SETS = (
    "nwot",
    "synflow",
    "logsynflow",
    "params",
    "l2_norm",
    "snip",
    "grad_norm",
    "zico",
    "nwot+params",
    "nwot+synflow",
    "nwot+logsynflow",
    "nwot+snip",
    "nwot+zico",
    "zico+logsynflow",
    "snip+grad_norm",
    "nwot+synflow+params",
    "nwot+synflow+snip+grad_norm+params",
)
flags.DEFINE_enum("space", "nasbench201", ["nasbench201", "darts"], "Search space.")
flags.DEFINE_string("images", None, "npz file with x_train, y_train, x_test, y_test.")
flags.DEFINE_string("table", "", "CSV of accuracies with a column arch_str.")
flags.DEFINE_string("column", "c10_test", "The table's column, in percent.")
flags.DEFINE_float("ridge", 5.0, "Penalty of the regression for `effects`.")
flags.DEFINE_list("sets", list(SETS), "Sets of proxies, joined by +.")
flags.DEFINE_list("levels", ["0.25", "0.5", "0.75"], "Pruning levels.")
flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds.")
flags.DEFINE_integer("image_size", 16, "Images are averaged down to it.")
flags.DEFINE_integer("channels", 8, "Channels of the scored supernet.")
flags.DEFINE_integer("layers", 0, "Its cells; 0: 1 a stage (nasbench201), 3 (darts).")
flags.DEFINE_integer("batch", 64, "Images in a batch.")
flags.DEFINE_integer("repeats", 3, "Weights and batches of a score.")
flags.DEFINE_string("out", "", "JSON file to write, one object for each row.")
flags.mark_flag_as_required("images")


def main(argv: Sequence[str]) -> None:
    """Scores, prints a line for each row, and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    accuracies = read_accuracies(FLAGS.table, FLAGS.column) if FLAGS.table else {}
    space = get_space(FLAGS.space)
    sample = accuracies if FLAGS.space == "darts" else {}
    worth = ranker_masks.effects(space, sample, FLAGS.ridge) if sample else {}
    study = run.Study(
        space=space,
        images=run.shrunk(data.load("npz", path=FLAGS.images), FLAGS.image_size),
        channels=FLAGS.channels,
        layers=FLAGS.layers or (1 if FLAGS.space == "nasbench201" else 3),
        batch_size=FLAGS.batch,
        steps=0,
        proxies=tuple(
            dict.fromkeys(p for s in FLAGS.sets for p in ranker_masks.members(s))
        ),
        repeats=FLAGS.repeats,
        samples=0,
    )
    found = [ranker_masks.score(study, int(seed)) for seed in FLAGS.seeds]
    rows = []
    for name, level in itertools.product(FLAGS.sets, map(float, FLAGS.levels)):
        masks = [
            ranker_masks.mask(study, parts, ranker_masks.members(name), level)
            for parts in found
        ]
        row: run.Row = {
            "space": FLAGS.space,
            "set": name,
            "level": level,
            "seeds": len(masks),
            "kept": masks[0].num_kept,
            "shared": ranker_masks.shared(masks),
        }
        if worth:
            means = [
                statistics.mean(worth[o] for o in worth if m.keeps(*o)) for m in masks
            ]
            row |= {"kept_effect": statistics.mean(means)}
        elif accuracies:
            kept = [run.looked_up(accuracies, m) for m in masks]
            means = [k["kept_mean"] for k in kept]
            row |= {
                "kept_mean": statistics.mean(means),
                "kept_mean_std": statistics.stdev(means) if len(means) > 1 else 0.0,
                "kept_best": statistics.mean(k["kept_best"] for k in kept),
            }
        rows.append(row)
        print(
            f"{name} {level:g}: {row['kept']} kept, {row['shared']:.1%} shared",
            *(f"{key} {row[key]:.4g}" for key in row if key.startswith("kept_")),
            sep=", ",
            flush=True,
        )
    if FLAGS.out:
        write_json(FLAGS.out, rows)


if __name__ == "__main__":
    sys.exit(app.run(main))
