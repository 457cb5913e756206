"""`nas-jax memory`: the memory of the search step on devices that need not be there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
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
_TEXTS = {
    "budget": "Find the fastest settings that fit, such as 16GiB; one --target.",
    "image_shape": "Height, width, channels, such as 32x32x3. Default: the data's.",
    "json": "File for the rows, written after each of them.",
    "chart": "File for a bar chart, .svg or .png.",
}
_COUNTS = {
    "num_classes": "Number of classes. Default: the data's.",
    "num_train": "Number of training images. Default: the data's.",
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
    for name, text in _TEXTS.items():
        flags.DEFINE_string(name, "", text, flag_values=values)
    for name, text in _COUNTS.items():
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
        self._json, self._chart = Path(call.flags.json), Path(call.flags.chart)

    def add(self, row: dict[str, Any]) -> None:
        """One more row."""
        self.rows.append(row)
        logging.info("%s", row_text(row))
        self._write(complete=False)

    def finish(self, *more_notes: str, **more: Any) -> None:
        """All rows as a table, notes below it, and the chart."""
        self._write(**more, complete=True)
        print("\n".join([table(self.rows), *_notes(self.rows), *more_notes]))
        if self._chart.name and any("error" not in row for row in self.rows):
            title = f"{self.header['name']}: device memory of the search step"
            draw_chart(self.rows, title, self._chart)
            print(f"chart: {self._chart}")

    def _write(self, **more: Any) -> None:
        if self._json.name:
            value = {**self.header, **more, "rows": self.rows}
            Workdir(self._json.parent).write_json(self._json.name, value)


def _run(call: app.Call) -> int:
    asked = call.flags
    read = {f"--mask ({path})": path for path in asked.mask or ()}
    read |= {f"--target ({name})": name for name in asked.target}
    call.check_outputs("json", "chart", also_read=read)
    if asked.chart and Path(asked.chart).suffix not in CHARTS:
        raise ConfigError(
            f"--chart={asked.chart}: it must end in {' or '.join(CHARTS)}"
        )
    budget = parse_bytes(asked.budget) if asked.budget else 0
    targets = [find_target(name) for name in dict.fromkeys(asked.target)]
    if budget and asked.trace_only:
        raise ConfigError("--budget needs compiled steps; leave --trace_only out")
    if budget and len(targets) != 1:
        raise ConfigError(f"--budget is for one device; --target names {len(targets)}")
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
            if child is None or child.target != target:
                stack.close()
                child = stack.enter_context(Child(target, setup))
                report.header["images"] = child.facts
            what = settings_text(row)
            logging.info("row %d of %d%s: %s", done + 1, len(work), eta, what)
            request = _request(
                settings,
                candidate,
                residuals=candidate not in residuals,
                compile=not traced,
            )
            try:
                answer = child.ask(request)
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
    from nas_jax.networks import family_of

    order = sorted(settings.asked, key=step_time)
    order += sorted(settings.fallback, key=step_time)
    space = start_mask(call.config.space).space
    layers = call.config.search.layers * family_of(space).stages
    cell = space.cells[0]
    first = sum(s < cell.num_inputs for s, _ in cell.edges) / len(cell.edges)
    batch = order[0].batch_size
    traced: dict[Candidate, float] = {}
    with Child(target, setup) as child:
        report = _Report(call, images=child.facts, budget_bytes=budget)

        def residuals(candidate: Candidate) -> float:
            whole = replace(candidate, batch_size=batch, microbatches=1)
            if whole not in traced:
                request = _request(settings, whole, residuals=True, compile=False)
                traced[whole] = child.ask(request)["residual_bytes"]
            # Almost all of them are activations: so many for each image.
            return traced[whole] * candidate.batch_size / candidate.microbatches / batch

        def estimate(candidate: Candidate) -> float:
            share = recomputed_share(layers, first, candidate.remat)
            stored = replace(candidate, remat="none")
            return residuals(candidate) + (share and share * residuals(stored))

        def compiled(candidate: Candidate) -> MemoryUse:
            row = _row(candidate, target.name)
            logging.info("compiling %s", settings_text(row))
            request = _request(settings, candidate, residuals=False, compile=True)
            answer = child.ask(request)
            if candidate in traced:
                answer["residual_bytes"] = traced[candidate]
            report.add({**row, **answer})
            # A refused step has a peak alone, all of it temporary as far as known.
            whole = {"temp_bytes": answer["peak_bytes"]} | answer
            return MemoryUse(
                **{f.name: whole.get(f.name, 0) for f in fields(MemoryUse)}
            )

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
    row = {names.get(name, name): value for name, value in asdict(candidate).items()}
    return row if target is None else {"target": target, **row}


def _request(settings: Settings, candidate: Candidate, **what: bool) -> dict[str, Any]:
    """What a child is asked of a candidate."""
    return {**asdict(candidate), "mask": settings.masks[candidate].to_dict(), **what}


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
