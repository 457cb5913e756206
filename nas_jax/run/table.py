"""The stages of an experiment, in their order. A stage is one row here."""

from __future__ import annotations

from nas_jax import artefacts
from nas_jax.run import making, memory, prune, retrain, search, summary
from nas_jax.run.stage import Stage

STAGES: list[Stage] = [
    Stage(
        "prune",
        writes="prune.json",
        kind=artefacts.Pruning,
        made_from=making.pruning,
        run=prune.prune,
        command="prune",
        says=prune.says,
    ),
    Stage(
        "search",
        uses=("prune",),
        writes="genotype.json",
        kind=artefacts.ChosenCells,
        made_from=making.searching,
        run=search.search,
        command="search",
        says=search.says,
    ),
    Stage(
        "memory",
        needs=("search",),
        uses=("prune",),
        writes="memory.json",
        kind=artefacts.Memory,
        made_from=making.measuring,
        run=memory.memory,
        command="search",
    ),
    Stage(
        "retrain",
        uses=("search",),
        writes="retrain.json",
        kind=artefacts.Retraining,
        made_from=making.retraining,
        run=retrain.retrain,
        command="retrain",
        says=retrain.says,
    ),
    Stage(
        "summary",
        needs=("search", "memory", "retrain"),
        uses=("prune",),
        writes="summary.json",
        kind=artefacts.Summary,
        made_from=making.summarising,
        run=summary.summarise,
    ),
]


def register_stage(stage: Stage, after: str = "retrain") -> None:
    """Adds a stage behind another one; a config file may call it.

    Raises:
        ValueError: There is a stage of its name, or none to put it behind.
    """
    names = [row.name for row in STAGES]
    if stage.name in names or after not in names:
        raise ValueError(
            f"cannot add stage {stage.name!r} after {after!r}: there are "
            f"{', '.join(names)}, each name once"
        )
    STAGES.insert(names.index(after) + 1, stage)
