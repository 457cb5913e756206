"""The last stage: what was found, and what it cost."""

from __future__ import annotations

from nas_jax.artefacts import Memory, Pruning, Retraining, Summary
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.interrupt import Interrupt


def summarise(experiment: Experiment, inputs: Inputs, interrupt: Interrupt) -> Summary:
    """The figures of all stages together."""
    pruned: Pruning | None = inputs.get("prune")
    memory: Memory = inputs["memory"]
    result: Retraining = inputs["retrain"]
    seconds = {
        **({"prune": pruned.seconds["total"]} if pruned else {}),
        "search": inputs["search"].seconds["total"],
        "memory": memory.seconds,
        "retrain": result.seconds,
    }
    return Summary(
        name=experiment.config.name,
        seed=experiment.config.seed,
        test_accuracy=result.test_accuracy,
        num_test=experiment.dataset.num_test,
        parameters=result.parameters,
        genotype=inputs["search"].text,
        kept_fraction=pruned.kept_fraction if pruned else None,
        seconds={**seconds, "total": sum(seconds.values())},
        peak_memory_bytes={
            "unpruned": memory.unpruned["peak_bytes"],
            "pruned": memory.pruned["peak_bytes"],
        },
    )
