"""The last artefact of a whole run: what was found, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas_jax.cli.stages import making
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.identity import FIELD
from nas_jax.spaces import Genotype, SpaceMask


def summarise(
    experiment: Experiment,
    mask: SpaceMask,
    genotype: Genotype,
    memory: Mapping[str, Any],
    result: Mapping[str, Any],
) -> None:
    """Writes summary.json.

    Args:
        experiment: The experiment.
        mask: What pruning left.
        genotype: What was found in it.
        memory: What the stage `memory` returned.
        result: What the stage `retrain` returned.
    """
    config, workdir = experiment.config, experiment.workdir
    pruned, searched = map(workdir.read_json, ("prune.json", "genotype.json"))
    seconds = {
        "prune": pruned["seconds"]["total"],
        "search": searched["seconds"]["total"],
        "memory": memory["seconds"],
        "retrain": result["seconds"],
    }
    summary = {
        "name": config.name,
        "seed": config.seed,
        "test_accuracy": result["test_accuracy"],
        "num_test": experiment.dataset.num_test,
        "parameters": result["parameters"],
        "genotype": str(genotype),
        "kept_fraction": pruned["kept_fraction"],
        "seconds": {**seconds, "total": sum(seconds.values())},
        "peak_memory_bytes": {
            name: memory[name]["peak_bytes"] for name in ("unpruned", "pruned")
        },
        "stages": {
            "prune": pruned[FIELD]["digest"],
            "search": searched[FIELD]["digest"],
            "memory": making.measuring(experiment, mask).digest,
        },
    }
    workdir.write_artefact(
        "summary.json", summary, making.retraining(experiment, genotype)
    )
