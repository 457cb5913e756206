"""`nas-jax run`: prune, search, retrain and report, in one workdir."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nas_jax.cli import stage_command

HELP = "Prune, search, retrain and report in one workdir; a finished stage is kept."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main(_stage, argv, HELP)


def _stage(run: Any, interrupt: Any, call: Any) -> None:
    from nas_jax.cli import stages
    from nas_jax.report import summary_text, write_report

    workdir = run.workdir
    mask = stages.prune(run, interrupt)
    interrupt.stop_if_requested("prune", mask.num_kept)
    genotype = stages.search(run, mask, interrupt)
    memory = stages.memory(run, mask)
    if not workdir.stage_done("retrain"):
        result = stages.retrain(run, genotype, interrupt)
        seconds = {
            "prune": workdir.read_json("prune.json")["seconds"]["total"],
            "search": workdir.read_json("genotype.json")["seconds"]["total"],
            "memory": memory["seconds"],
            "retrain": result["seconds"],
        }
        workdir.write_json(
            "summary.json",
            {
                "name": run.config.name,
                "seed": run.config.seed,
                "test_accuracy": result["test_accuracy"],
                "num_test": run.dataset.num_test,
                "parameters": result["parameters"],
                "genotype": str(genotype),
                "kept_fraction": mask.kept_fraction,
                "seconds": {**seconds, "total": sum(seconds.values())},
                "peak_memory_bytes": {
                    name: memory[name]["peak_bytes"] for name in ("unpruned", "pruned")
                },
            },
        )
    path = write_report(workdir.root)
    print(summary_text(workdir.root))
    print(f"report: {path}")


if __name__ == "__main__":
    sys.exit(main())
