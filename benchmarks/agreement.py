"""How our scores agree with NASLib's and with accuracy: the tables of docs/proxies.md.

    python -m benchmarks.agreement --naslib=nb201_zc_proxies.csv --num=304 \\
        --architectures=archs.csv
    nas-jax score --archs=archs.csv --proxies=nwot,snip --json=scores.json ...
    python -m benchmarks.agreement --naslib=nb201_zc_proxies.csv --scores=scores.json \\
        --table=nb201_cifar10.csv.gz --column=c10_test

`--naslib` is a file of NAS-Bench-Suite-Zero (Krishnakumar et al. 2022, arXiv
2210.03230): a column for each proxy, and one with the architecture, `arch_str` in
NAS-Bench-201 and `net` in the DARTS space, where `val_accuracy` is the surrogate's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from benchmarks import naslib
from benchmarks.files import read_accuracies, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string("naslib", None, "CSV file of NASLib's scores, plain or .gz.")
flags.DEFINE_string(
    "architectures", "", "CSV file to write, for nas-jax score --archs."
)
flags.DEFINE_integer("num", 0, "Architectures to draw for it; 0 is all.")
flags.DEFINE_integer("seed", 0, "Draws them.")
flags.DEFINE_list("scores", [], "JSON files of nas-jax score.")
flags.DEFINE_string("table", "", "CSV file of accuracies; empty is --naslib's own.")
flags.DEFINE_string("column", "val_accuracy", "Its column with the accuracy.")
flags.DEFINE_string("out", "", "JSON file to write, one object for each row.")
flags.mark_flag_as_required("naslib")


def main(argv: Sequence[str]) -> None:
    """Writes architectures, or prints a table in Markdown."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    if not FLAGS.architectures and not FLAGS.scores:
        raise app.UsageError("give --architectures to write, or --scores to compare")
    theirs = naslib.read_naslib(FLAGS.naslib)
    if FLAGS.architectures:
        naslib.write_architectures(FLAGS.architectures, theirs, FLAGS.num, FLAGS.seed)
    if not FLAGS.scores:
        return
    if FLAGS.table:
        accuracies = read_accuracies(FLAGS.table, FLAGS.column)
    elif all(FLAGS.column in row for row in theirs.values()):
        accuracies = {name: row[FLAGS.column] for name, row in theirs.items()}
    else:
        raise app.UsageError(
            f"{FLAGS.naslib} has no column {FLAGS.column!r}; give --table, --column"
        )
    rows = naslib.compare(naslib.read_scores(FLAGS.scores), theirs, accuracies)
    print("| proxy | failed | ours with NASLib | ours with accuracy | NASLib's |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        keys = ("with_naslib", "with_accuracy", "naslib_with_accuracy")
        cells = ["" if row[key] is None else f"{row[key]:.4f}" for key in keys]
        print(f"| {row['proxy']} | {row['failed']} | {' | '.join(cells)} |")
    if FLAGS.out:
        write_json(FLAGS.out, rows)


if __name__ == "__main__":
    sys.exit(app.run(main))
