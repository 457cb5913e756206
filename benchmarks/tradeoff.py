"""What pruning costs and what it gains, level by level: rows for docs/tradeoff.md.

    python -m benchmarks.tradeoff --space=nasbench201 --images=cifar10_subset.npz \\
        --table=nb201_cifar10.csv.gz --out=nasbench201.jsonl
    python -m benchmarks.tradeoff --space=darts --images=cifar10_subset.npz \\
        --out=darts.jsonl
    python -m benchmarks.tradeoff_report --rows=nasbench201.jsonl --out=tradeoff

A row is one strategy, level and seed: pruning, a search on what is left, and the
accuracy of what was found, looked up or retrained. Rows that the file has are not
computed again, so a run that was stopped goes on. `--found=darts.jsonl` retrains what
these rows found once more, with other `--retrain_*`. The network that is searched, the
images and the steps are of a size that two cores can do: see the flags.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from absl import app, flags

from benchmarks import tradeoff_run as run
from benchmarks.files import read_accuracies
from nas_jax import data
from nas_jax.pruning import STRATEGIES
from nas_jax.spaces import Genotype, SpaceMask, get_space

FLAGS = flags.FLAGS
LEVELS = (0.0, 0.25, 0.5, 0.625, 0.75, 0.875)
flags.DEFINE_enum("space", "nasbench201", ["nasbench201", "darts"], "Search space.")
flags.DEFINE_string("images", None, "npz file with x_train, y_train, x_test, y_test.")
flags.DEFINE_string("table", "", "CSV of accuracies; without, networks are retrained.")
flags.DEFINE_string("column", "c10_test", "The table's column, in percent.")
flags.DEFINE_list("strategies", list(STRATEGIES), "Which; several with commas.")
flags.DEFINE_list("levels", list(map(str, LEVELS)), "Pruning levels.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds.")
flags.DEFINE_integer("image_size", 16, "Images are averaged down to it.")
flags.DEFINE_integer("channels", 8, "Channels of the supernet.")
flags.DEFINE_integer("layers", 0, "Its cells; 0: 1 a stage (nasbench201), 5 (darts).")
flags.DEFINE_integer("batch", 64, "Images in a batch.")
flags.DEFINE_integer("steps", 390, "Search steps.")
flags.DEFINE_integer("repeats", 0, "Weights and batches of a score; 0: the strategy's.")
flags.DEFINE_integer("samples", 300, "Architectures of the strategy `sampled`.")
flags.DEFINE_list("proxies", [], "Rankers of zero_one_shot and sampled; empty: theirs.")
flags.DEFINE_integer("retrain_channels", 12, "Channels of a retrained network.")
flags.DEFINE_integer("retrain_layers", 5, "Its cells.")
flags.DEFINE_integer("retrain_epochs", 6, "Passes over the training images.")
flags.DEFINE_boolean("search", True, "Search; without, only masks and what they keep.")
flags.DEFINE_string(
    "found", "", "JSONL file of rows whose architectures are retrained, not searched."
)
flags.DEFINE_string("out", None, "JSONL file of rows; those that it has are kept.")
flags.mark_flags_as_required(["images", "out"])


def cells() -> Iterator[tuple[str, float, int]]:
    """Strategy, level and seed of every row, the unpruned space once."""
    levels = [float(level) for level in FLAGS.levels]
    for seed in map(int, FLAGS.seeds):
        if 0.0 in levels:
            yield "none", 0.0, seed
        for strategy in FLAGS.strategies:
            yield from ((strategy, level, seed) for level in levels if level > 0)


def main(argv: Sequence[str]) -> None:
    """Computes the rows that are missing."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    if unknown := set(FLAGS.strategies) - set(STRATEGIES):
        raise app.UsageError(f"no strategy {', '.join(sorted(unknown))}")
    out = Path(FLAGS.out)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(r["strategy"], r["level"], r["seed"]) for r in rows}
    accuracies = read_accuracies(FLAGS.table, FLAGS.column) if FLAGS.table else {}
    study = run.Study(
        space=get_space(FLAGS.space),
        images=run.shrunk(data.load("npz", path=FLAGS.images), FLAGS.image_size),
        channels=FLAGS.channels,
        layers=FLAGS.layers or (1 if FLAGS.space == "nasbench201" else 5),
        batch_size=FLAGS.batch,
        steps=FLAGS.steps,
        proxies=tuple(FLAGS.proxies),
        repeats=FLAGS.repeats,
        samples=FLAGS.samples,
    )
    for row in rows:
        check_setting(study, row, FLAGS.out)
    find = Earlier(study, Path(FLAGS.found)) if FLAGS.found else Searches(study)
    missing = [cell for cell in cells() if cell not in done]
    if isinstance(find, Earlier):
        find.check(missing)
    for strategy, level, seed in missing:
        row = find(strategy, level, seed)
        mask = SpaceMask.from_json(study.space, json.dumps(row["mask"]))
        if accuracies and "genotype" in row:
            row["accuracy"] = accuracies[row["genotype"]]
        elif "genotype" in row:
            row |= run.retrain(
                study,
                Genotype.parse(study.space, row["genotype"]),
                seed,
                channels=FLAGS.retrain_channels,
                layers=FLAGS.retrain_layers,
                epochs=FLAGS.retrain_epochs,
            )
        if accuracies:
            row |= run.looked_up(accuracies, mask)
        row["setting"] = setting(study, strategy)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{time.strftime('%H:%M:%S')} {strategy} {level:g} seed {seed}: "
            f"{mask.num_kept} kept, "
            + ", ".join(f"{k} {row[k]:.4g}" for k in SHOWN if row.get(k) is not None),
            flush=True,
        )


class Searches:
    """Rows of pruning and search; the same scores and the same masks once."""

    def __init__(self, study: run.Study) -> None:
        self._study = study
        self._scores: dict[tuple[str, int], run.Scores] = {}
        # Levels may leave the same operations: 1 of 5 at three of them.
        self._found: dict[tuple[SpaceMask, int], tuple[Genotype, run.Row]] = {}

    def __call__(self, strategy: str, level: float, seed: int) -> run.Row:
        """A row without an accuracy."""
        study = self._study
        known = self._scores.setdefault((strategy, seed), run.Scores())
        mask, pruned = run.prune(study, strategy, level, seed, known)
        row: run.Row = {
            "space": FLAGS.space,
            "strategy": strategy,
            "level": level,
            "seed": seed,
            "kept": mask.num_kept,
            "kept_fraction": mask.kept_fraction,
            "mask": mask.to_dict(),
            **pruned,
        }
        if FLAGS.search:
            if (mask, seed) not in self._found:
                self._found[mask, seed] = run.search(study, mask, seed)
            genotype, found = self._found[mask, seed]
            row |= {"genotype": str(genotype), **found}
        return row


class Earlier:
    """Rows of another run of this study, to be retrained for longer."""

    def __init__(self, study: run.Study, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        self._rows: dict[tuple[str, float, int], run.Row] = {}
        for row in map(json.loads, lines):
            check_setting(study, row, str(path), but=("accuracy", "retrained"))
            self._rows[row["strategy"], row["level"], row["seed"]] = row

    def check(self, wanted: Sequence[tuple[str, float, int]]) -> None:
        """Refuses a row that there is not, before hours have gone.

        Raises:
            UsageError: Names the first.
        """
        for strategy, level, seed in wanted:
            if (strategy, level, seed) not in self._rows:
                raise app.UsageError(
                    f"{FLAGS.found} has no row of {strategy}, level {level:g}, "
                    f"seed {seed}"
                )

    def __call__(self, strategy: str, level: float, seed: int) -> run.Row:
        """A row without what judged it; its setting is kept as `found_setting`."""
        row = dict(self._rows[strategy, level, seed])
        row["found_setting"] = row.pop("setting")
        return {name: value for name, value in row.items() if name not in JUDGED}


JUDGED = (
    *("accuracy", "parameters", "retrain_seconds"),
    *("kept_mean", "kept_best", "kept_worst"),
)
SHOWN = ("prune_seconds", "search_seconds", "kept_mean", "valid_accuracy", "accuracy")


def check_setting(
    study: run.Study, row: run.Row, file: str, but: Sequence[str] = ()
) -> None:
    """Refuses a row of another study.

    Args:
        study: This one.
        row: The row.
        file: Where it is from.
        but: What may differ.

    Raises:
        UsageError: Names what differs.
    """
    now = setting(study, row["strategy"])
    # Versions and the machine may change; they are in the row.
    for name in set(now) - {"python", "jax", "cpu_count", *but}:
        if row["setting"].get(name) != now[name]:
            which = f"{row['strategy']}, level {row['level']:g}, seed {row['seed']}"
            raise app.UsageError(
                f"{file} has a row of {which} with {name} "
                f"{row['setting'].get(name)}, and now it is {now[name]}; name another "
                "file"
            )


def setting(study: run.Study, strategy: str) -> run.Row:
    """What figures depend on beside strategy, level and seed."""
    return {
        "proxies": []
        if strategy == "none"
        else [r.name for r in run.strategy_of(study, strategy).rankers],
        "space": study.space.name,
        "images": Path(FLAGS.images).name,
        "accuracy": FLAGS.column if FLAGS.table else "retrained",
        "repeats": study.repeats,
        "samples": study.samples,
        "steps": study.steps if FLAGS.search else 0,
        "retrained": None
        if FLAGS.table or not FLAGS.search
        else [FLAGS.retrain_channels, FLAGS.retrain_layers, FLAGS.retrain_epochs],
        "channels": study.channels,
        "layers": study.layers,
        "image_shape": list(study.images.image_shape),
        "num_train": study.images.num_train,
        "batch_size": study.batch_size,
        "dtype": "float32",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "cpu_count": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(app.run(main))
