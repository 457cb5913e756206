"""`nas-jax memory`: the memory of the search step on devices that need not be there."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging

from nas_jax.cli import app
from nas_jax.cli.memory_output import CHARTS, draw_chart, row_text, settings_text, table
from nas_jax.cli.memory_settings import RANDOM, Settings, overrides, read_settings
from nas_jax.errors import ConfigError
from nas_jax.memory import (
    Candidate,
    MemoryUse,
    NothingFitsError,
    Target,
    find_fitting,
    find_target,
    parse_bytes,
    recomputed_share,
    require_compiler,
    step_time,
)
from nas_jax.metrics import format_bytes, format_duration
from nas_jax.paths import refuse_overwriting
from nas_jax.run.memory_child import Child, CompilerFailedError
from nas_jax.run.space import start_mask
from nas_jax.workdir import Workdir

HELP = (
    "Memory of the compiled search step on named devices, none of which has to be "
    "there; no images are needed. Compilers of accelerators: pip install "
    "'nas_jax[aot]'. docs/memory.md explains the columns."
)
_LISTS = {
    "kept": "Shares of the operations that a random mask keeps, such as 1.0,0.5. "
    "Without --kept and --mask: all, and what the config's pruning would leave.",
    "mask": "Files with a mask, or prune.json of a run.",
    "remat": "What to compute again: none, op, wave, cell. Default: the config's.",
    "dtype": "float32, bfloat16. Default: the config's.",
    "batch": "Batch sizes. Default: the config's.",
    "microbatches": "Parts that a batch is computed in. Default: the config's.",
}
_PACKAGES = ("jax", "jaxlib", "libtpu", "jax-cuda12-plugin", "jax-cuda12-pjrt")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return app.run(
        _run,
        argv,
        name="memory",
        help_text=HELP,
        define_flags=_define_flags,
        paths=("mask", "json", "chart"),
        needs_workdir=False,
    )


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_list(
        "target",
        ["cpu"],
        "Devices, several with commas: cpu, tpu-v5e, tpu-v5p, tpu-v6e, h100, a100, or "
        "a file with the figures of a GPU.",
        flag_values=values,
    )
    for name, text in _LISTS.items():
        flags.DEFINE_list(name, None, text, flag_values=values)
    for name, text in (
        ("budget", "Find the fastest settings that fit, such as 16GiB; one --target."),
        (
            "image_shape",
            "Height, width, channels, such as 32x32x3. Default: the data's.",
        ),
        ("json", "File for the rows, written after each of them."),
        ("chart", "File for a bar chart, .svg or .png."),
    ):
        flags.DEFINE_string(name, "", text, flag_values=values)
    for name, text in (
        ("num_classes", "Number of classes. Default: the data's."),
        ("num_train", "Number of training images. Default: the data's."),
    ):
        flags.DEFINE_integer(name, 0, text, lower_bound=0, flag_values=values)
    flags.DEFINE_boolean(
        "trace_only",
        False,
        "Only the bytes that the backward pass keeps, by tracing; compiles nothing.",
        flag_values=values,
    )


class _Report:
    """Rows as they come: logged, and written to the JSON file."""

    def __init__(self, call: app.Call, **header: Any) -> None:
        search = call.config.search
        self.rows: list[dict[str, Any]] = []
        self.header = {
            "name": call.config.name,
            "network": {"channels": search.channels, "layers": search.layers},
            "mask_seed": call.config.seed,
            "versions": _versions(),
            **header,
        }
        self._call = call

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self.rows.append(row)
        logging.info("%s", row_text(row))
        self._write(complete=False)

    def finish(self, *more_notes: str, **more: Any) -> None:
        """All rows as a table, notes below it, and the chart."""
        self._write(complete=True, **more)
        print(table(self.rows))
        for note in [*_notes(self.rows), *more_notes]:
            print(note)
        path = Path(self._call.flags.chart)
        if path.name and any("error" not in row for row in self.rows):
            title = f"{self._call.config.name}: device memory of the search step"
            draw_chart(self.rows, title, path)
            print(f"chart: {path}")

    def _write(self, complete: bool, **more: Any) -> None:
        path = Path(self._call.flags.json)
        if path.name:
            value = {**self.header, **more, "complete": complete, "rows": self.rows}
            Workdir(path.parent).write_json(path.name, value)


def _run(call: app.Call) -> int:
    asked = call.flags
    _check_files(call)
    budget = parse_bytes(asked.budget) if asked.budget else 0
    targets = [find_target(name) for name in dict.fromkeys(asked.target)]
    _check_mode(call, len(targets))
    start = start_mask(call.config.space)
    settings = read_settings(call.config, start, asked, bool(budget))
    if not asked.trace_only:
        for target in targets:
            require_compiler(target)
    images = ("image_shape", "num_classes", "num_train")
    setup = {
        "config": call.config.to_json(),
        "images": {name: asked[name].value for name in images},
        "largest_batch": max(c.batch_size for c in settings.masks),
        "compile": not asked.trace_only,
    }
    if budget:
        return _budget(call, settings, targets[0], setup, budget)
    return _rows(call, settings, targets, setup)


def _check_files(call: app.Call) -> None:
    """Refuses what could not be written at the end."""
    json, chart, data = call.flags.json, call.flags.chart, call.config.data
    for name, file in (("json", json), ("chart", chart)):
        if file and Path(file).is_dir():
            raise ConfigError(f"--{name}={file} is a folder; name a file in it")
        if not Path(file).parent.is_dir():
            raise ConfigError(f"--{name}={file}: create its folder first")
    if chart and Path(chart).suffix not in CHARTS:
        raise ConfigError(f"--chart={chart}: it must end in {' or '.join(CHARTS)}")
    inputs = {
        **{f"--mask ({path})": path for path in call.flags.mask or ()},
        **{f"--target ({name})": name for name in call.flags.target},
        "--config": call.config_file,
        "--config.space.mask": call.config.space.mask,
        "--config.data.path": "" if data.source == "tfds" else data.path,
    }
    refuse_overwriting({"--json": json, "--chart": chart}, inputs)
    refuse_overwriting({"--chart": chart}, {"--json": json})


def _check_mode(call: app.Call, targets: int) -> None:
    """Refuses flags that do not go together."""
    if call.workdir:
        raise ConfigError(
            "--workdir: memory writes no workdir; take a run's mask with "
            "--mask=WORKDIR/prune.json, and give --json=FILE for the rows"
        )
    if call.flags.budget and call.flags.trace_only:
        raise ConfigError("--budget needs compiled steps; leave --trace_only out")
    if call.flags.budget and targets != 1:
        raise ConfigError(f"--budget is for one device; --target names {targets}")


def _rows(
    call: app.Call,
    settings: Settings,
    targets: Sequence[Target],
    setup: dict[str, Any],
) -> int:
    """Every combination, target by target; a failed one does not stop the others."""
    traced = call.flags.trace_only
    report = _Report(call)
    work = list(itertools.product(targets[:1] if traced else targets, settings.asked))
    started = time.monotonic()
    residuals: dict[Candidate, dict[str, Any]] = {}
    child = None
    with contextlib.ExitStack() as stack:
        for done, (target, candidate) in enumerate(work):
            row = _row(candidate, None if traced else target.name)
            left = (time.monotonic() - started) / max(done, 1) * (len(work) - done)
            eta = f", about {format_duration(left)} left" if done else ""
            what = settings_text(row)
            if child is None or child.target != target:
                stack.close()
                child = stack.enter_context(Child(target, setup))
                report.header["images"] = child.facts
            logging.info("row %d of %d%s: %s", done + 1, len(work), eta, what)
            request = _request(settings, candidate, candidate not in residuals)
            try:
                answer = child.ask({**request, "compile": not traced})
            except CompilerFailedError as error:
                report.add({**row, "error": str(error)})
                child = None
                continue
            # Residuals are the same for every target.
            known = {key: answer[key] for key in answer if "residual" in key}
            report.add({**row, **answer, **residuals.setdefault(candidate, known)})
    report.finish()
    return 1 if any("error" in row for row in report.rows) else 0


def _budget(
    call: app.Call,
    settings: Settings,
    target: Target,
    setup: dict[str, Any],
    budget: int,
) -> int:
    """The fastest settings that fit."""
    order = [
        *sorted(settings.asked, key=step_time),
        *sorted(settings.fallback, key=step_time),
    ]
    nodes, layers = call.config.space.num_nodes, call.config.search.layers
    if call.config.space.name == "nasbench201":
        # Three stages; half of the edges leave a cell's input.
        nodes, layers = 5, 3 * layers
    batch = order[0].batch_size
    traced: dict[Candidate, float] = {}
    with Child(target, setup) as child:
        report = _Report(call, images=child.facts, budget_bytes=budget)

        def residuals(candidate: Candidate) -> float:
            whole = dataclasses.replace(candidate, batch_size=batch, microbatches=1)
            if whole not in traced:
                request = {**_request(settings, whole, True), "compile": False}
                traced[whole] = child.ask(request)["residual_bytes"]
            # Almost all of them are activations: so many for each image.
            return traced[whole] * candidate.batch_size / candidate.microbatches / batch

        def estimate(candidate: Candidate) -> float:
            share = recomputed_share(layers, nodes, candidate.remat)
            stored = dataclasses.replace(candidate, remat="none")
            return residuals(candidate) + (share and share * residuals(stored))

        def compiled(candidate: Candidate) -> MemoryUse:
            row = _row(candidate, target.name)
            logging.info("compiling %s", settings_text(row))
            request = _request(settings, candidate, False)
            answer = child.ask({**request, "compile": True})
            if candidate in traced:
                answer["residual_bytes"] = traced[candidate]
            report.add({**row, **answer})
            fields = [field.name for field in dataclasses.fields(MemoryUse)]
            # A refused step has a peak alone, all of it temporary as far as known.
            whole = {"temp_bytes": answer["peak_bytes"]} | answer
            return MemoryUse(**{name: whole.get(name, 0) for name in fields})

        try:
            found = find_fitting(order, budget, compiled, estimate)
        except NothingFitsError as error:
            least = error.smallest
            raise ConfigError(
                f"nothing fits {format_bytes(budget)} on {target.name}: of "
                f"{len(order)} combinations ({error.compiled} compiled) the smallest "
                f"needs {format_bytes(least.use.peak_bytes)}, with "
                f"{' '.join(overrides(call.config, least.candidate)) or 'the config'}; "
                "allow more with --kept, --batch or --microbatches"
            ) from None
    paste = overrides(call.config, found.candidate)
    report.finish(
        f"fits {format_bytes(budget)} on {target.name} with "
        f"{format_bytes(found.use.peak_bytes)} after {len(report.rows)} compilations, "
        f"of {len(order)} combinations:",
        " ".join(paste) or "the config as it is",
        chosen=report.rows[-1],
        overrides=paste,
    )
    return 0


def _row(candidate: Candidate, target: str | None) -> dict[str, Any]:
    """The settings of a row."""
    names = {"kept": "kept_fraction", "batch_size": "batch"}
    row = {names.get(k, k): v for k, v in dataclasses.asdict(candidate).items()}
    return row if target is None else {"target": target, **row}


def _request(
    settings: Settings, candidate: Candidate, residuals: bool
) -> dict[str, Any]:
    """What a child is asked of a candidate, but for whether it compiles."""
    search = dataclasses.asdict(candidate)
    del search["kept"]
    mask = settings.masks[candidate].to_dict()
    return {**search, "mask": mask, "residuals": residuals}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    notes = ["bytes in MiB"]
    if any("peak_bytes" in row for row in rows):
        notes = ["bytes in MiB; peak = temp + arguments + output - alias"]
    if any(row["mask"] == RANDOM for row in rows):
        notes.append(
            "mask random: drawn with the config's seed; `none` goes first, and every "
            "edge keeps an operation. --mask=prune.json takes a run's own"
        )
    notes += [f"{settings_text(r)}: {r['error']}" for r in rows if "error" in r]
    if any(row.get("refused") for row in rows):
        notes.append("rows without temp: the compiler refused a step of this size")
    return notes


if __name__ == "__main__":
    sys.exit(main())
