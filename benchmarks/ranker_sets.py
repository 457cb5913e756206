"""Which rankers prune best: masks of sets of them, from the scores of each alone.

    python -m benchmarks.ranker_sets --images=cifar10_subset.npz \\
        --table=nb201_cifar10.csv.gz --out=ranker_sets.json

An importance of `zero_one_shot` is a sum over rankers, so every ranker scores each
operation once, and any set of them prunes by the sum of what its members found. A row
is one set and level: what the masks of two seeds share of what they keep and, with a
table of accuracies, what they keep is worth. In NAS-Bench-201 that is the mean and the
best accuracy of all architectures that are left; in the DARTS space, where a table has
a sample of them, the mean effect of the operations that are left (see `effects`).
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from absl import app, flags

from benchmarks import tradeoff_run as run
from nas_jax import data, pruning
from nas_jax.pruning.selection import lowest
from nas_jax.spaces import NONE, Genotype, SearchSpace, SpaceMask, get_space
from nas_jax.tabular import load_table

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

Operation = pruning.candidates.Operation
Parts = Mapping[Operation, Mapping[str, float]]
"""Each ranker's relative change, by operation."""


def members(name: str) -> tuple[str, ...]:
    """The proxies of a set."""
    return tuple(name.split("+"))


def score(study: run.Study, seed: int) -> Parts:
    """What every ranker of a study says of every operation that may go."""
    options = pruning.Options(
        proxies=study.proxies,
        channels=study.channels,
        layers=study.layers,
        batch_size=study.batch_size,
        repeats=study.repeats,
    )
    result = pruning.prune(
        SpaceMask.full(study.space),
        pruning.get_strategy("zero_one_shot", study.space, options),
        functools.partial(study.batch, seed),
        key=jax.random.key(seed),
        num_classes=study.images.num_classes,
        # As far as it goes, so that no operation goes without a score.
        target=pruning.Target(keep=1),
    )
    return {(o.cell, o.edge, o.operation): o.scores for o in result.operations}


def mask(
    study: run.Study, parts: Parts, proxies: Sequence[str], level: float
) -> SpaceMask:
    """What a set of rankers leaves at a level."""
    full = SpaceMask.full(study.space)
    scored = [operation for operation, scores in parts.items() if scores]
    base = full.drop(operation for operation in parts if operation not in scored)
    total = np.array([sum(parts[o][p] for p in proxies) for o in scored])
    goal = pruning.Target(level).keeps(full)
    return base.drop(lowest(base, scored, total, goal))


def shared(masks: Sequence[SpaceMask]) -> float:
    """Mean over pairs of masks of the share of kept operations that both keep."""
    # Sets, because two masks may have no operation of an edge in common.
    kept = [{o for o in m.space.operations() if m.keeps(*o)} for m in masks]
    pairs = [len(a & b) / len(a) for a, b in itertools.combinations(kept, 2)]
    return statistics.mean(pairs) if pairs else 1.0


def effects(
    space: SearchSpace, accuracies: Mapping[str, float], ridge: float
) -> dict[Operation, float]:
    """What an operation on an edge adds to accuracy, by ridge regression; not `none`.

    Accuracies are explained by which operations an architecture has on which edges;
    both are centred.

    Args:
        space: A space in whose genotypes edges may be absent, such as DARTS'.
        accuracies: By genotype, as its `str` is written.
        ridge: Penalty on squared effects.
    """
    order = [o for o in space.operations() if o[2] != NONE]
    present = np.zeros((len(accuracies), len(order)))
    for row, text in enumerate(accuracies):
        mask = Genotype.parse(space, text).mask()
        present[row] = [mask.keeps(*operation) for operation in order]
    x = present - present.mean(0)
    y = np.array(list(accuracies.values()))
    normal = x.T @ x + ridge * np.eye(len(order))
    found = np.linalg.solve(normal, x.T @ (y - y.mean()))
    return dict(zip(order, found.tolist(), strict=True))


def main(argv: Sequence[str]) -> None:
    """Scores, prints a line for each row, and writes the JSON file."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    accuracies = {}
    if FLAGS.table:
        table = load_table(FLAGS.table, columns=[FLAGS.column])
        column = table.columns[FLAGS.column].tolist()
        accuracies = dict(zip(table.architectures, column, strict=True))
    space = get_space(FLAGS.space)
    worth = effects(space, accuracies, FLAGS.ridge) if FLAGS.space == "darts" else {}
    study = run.Study(
        space=space,
        images=run.shrunk(data.load("npz", path=FLAGS.images), FLAGS.image_size),
        channels=FLAGS.channels,
        layers=FLAGS.layers or (1 if FLAGS.space == "nasbench201" else 3),
        batch_size=FLAGS.batch,
        steps=0,
        proxies=tuple(dict.fromkeys(p for s in FLAGS.sets for p in members(s))),
        repeats=FLAGS.repeats,
        samples=0,
    )
    found = [score(study, int(seed)) for seed in FLAGS.seeds]
    rows = []
    for name, level in itertools.product(FLAGS.sets, map(float, FLAGS.levels)):
        masks = [mask(study, parts, members(name), level) for parts in found]
        row: run.Row = {
            "space": FLAGS.space,
            "set": name,
            "level": level,
            "seeds": len(masks),
            "kept": masks[0].num_kept,
            "shared": shared(masks),
        }
        if worth and accuracies:
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
        unfinished = Path(f"{FLAGS.out}.tmp")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(FLAGS.out)


if __name__ == "__main__":
    sys.exit(app.run(main))
