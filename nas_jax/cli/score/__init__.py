"""`nas-jax score`: proxy scores of architectures by the thousand.

files.py      architectures and accuracies that are read
task.py       what is scored: networks, images, proxies, checked
loop.py       call after call of compiled programs, and how wide they are
results.py    the scores on disk
output.py     tables, how the scores rank, and pictures of it
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from nas_jax.cli import app
from nas_jax.config import SEED
from nas_jax.errors import ConfigError
from nas_jax.lock import locked
from nas_jax.memory import parse_bytes
from nas_jax.paths import refuse_overwriting
from nas_jax.spaces import SPACES
from nas_jax.workdir import LOCK

HELP = (
    "Scores untrained networks of a search space, as many as are asked for, with "
    "training-free proxies; and how well the scores rank them. Works on the embedded "
    "digits, or on the images of --config=FILE and --config.data.FIELD=VALUE. "
    "docs/scoring.md explains the results."
)
_NUMBERS: tuple[tuple[str, int | None, int, str], ...] = (
    ("num", 100, 1, "Architectures to draw at random. Default: 100."),
    ("seed", None, 0, "Draws architectures, weights, batch. Default: the config's, 0."),
    ("channels", None, 1, "Channels of the first cells. Default: as published, 16."),
    ("cells", None, 1, "Cells, of each stage if there are any. Default: as published."),
    ("batch_size", 64, 1, "Images in the batch. Default: 64."),
    ("chunk", 16, 1, "Architectures between two writes of the results. Default: 16."),
    ("width", 0, 0, "Architectures side by side on a device; 0 (default) chooses."),
)
_TEXTS = (
    ("archs", "File of architectures: one a line, or a .csv(.gz) column arch_str."),
    ("json", "File for the results. The same call goes on where it was stopped."),
    ("csv", "File for the scores, a row for each architecture."),
    ("memory_budget", "What --width=0 may fill: 8GiB. Default: 3/4 of the device."),
    ("table", "A .csv(.gz) file of accuracies with a column arch_str to compare with."),
    ("target", "Its column with the accuracy."),
    ("plots", "Folder for a picture of each proxy's scores against the accuracy."),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return app.run(
        _run,
        argv,
        name="score",
        help_text=HELP,
        define_flags=_define_flags,
        paths=("archs", "json", "csv", "table", "plots"),
        needs_config=False,
        needs_workdir=False,
        reads=("seed", "data."),
    )


def _define_flags(values: flags.FlagValues) -> None:
    # Scores of it can be compared with accuracies.
    usual = next(name for name, space in SPACES.items() if space.published)
    flags.DEFINE_enum(
        "space",
        usual,
        list(SPACES),
        f"Search space. Default: {usual}.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "proxies",
        None,
        "Names with commas between them. Default: all that suit the networks, without "
        "ntk_cond and ntk_eigen, which take a gradient for every image.",
        flag_values=values,
    )
    for name, default, least, text in _NUMBERS:
        flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=values)
    for name, text in _TEXTS:
        flags.DEFINE_string(name, "", text, flag_values=values)


def _run(call: app.Call) -> int:
    asked = call.flags
    _check_flags(call)
    budget = parse_bytes(asked.memory_budget) if asked.memory_budget else 0
    # Imported here: a mistake in a flag is reported before JAX loads.
    from nas_jax.cli.score import loop, output
    from nas_jax.cli.score.files import read_accuracies
    from nas_jax.cli.score.results import Results
    from nas_jax.cli.score.task import make_task

    app.configure_jax()
    task = make_task(call.config, asked)
    accuracies = None
    if asked.table:
        accuracies = read_accuracies(
            asked.table, asked.target, task.family.space, task.architectures
        )
    file = Path(asked.json)
    alone: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if asked.json:
        # Keeps other calls from writing the same results.
        lock = file.with_name(f".{file.name}{LOCK}")
        alone = locked(lock, f"--json={file}", call.command)
    with alone:
        results = Results(task.settings, task.architectures, asked.json, asked.csv)
        call.interrupt.resumable = results.resumable
        loop.score_all(task, results, call, budget)
        call.interrupt.doing = "while it compared"
        output.report(asked, results, accuracies)
    return 0


def _check_flags(call: app.Call) -> None:
    """Refuses flags that do not go together, and what could not be written."""
    asked = call.flags
    if asked.seed is not None and not SEED.holds(asked.seed):
        raise ConfigError(f"--seed is {asked.seed}: it must be {SEED.allowed}")
    table = bool(asked.table)
    for wrong, message in (
        (
            asked.archs and asked["num"].present,
            "--num and --archs both say which architectures; leave one of them out",
        ),
        (
            table != bool(asked.target),
            "--table and --target go together: a file, and its column with the "
            "accuracy",
        ),
        (
            asked.plots and not table,
            "--plots draws scores against an accuracy; give --table and --target too",
        ),
        (
            asked.memory_budget and asked.width,
            "--memory_budget chooses the width, and --width gives it; leave one out",
        ),
        (
            asked.proxies is not None and not (asked.proxies and all(asked.proxies)),
            "--proxies has an empty name; give names as in --proxies=nwot,synflow, or "
            "leave it out for all",
        ),
    ):
        if wrong:
            raise ConfigError(message)
    read = {"--archs": asked.archs, "--table": asked.table}
    call.check_outputs("json", "csv", also_read=read)
    if asked.plots:
        folder = Path(asked.plots)
        if not folder.parent.is_dir():
            raise ConfigError(f"--plots={folder}: create its folder first")
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"--plots={folder} is a file; name a folder")
        pictures = folder.glob("*.svg")
        drawn = {f"the picture {file.name} of --plots": file for file in pictures}
        refuse_overwriting(drawn, {**read, **call.inputs})
