"""What each stage is made from, and what a workdir holds that was made otherwise.

A stage's artefacts follow from what its function here returns and from nothing else:
a field that a stage reads belongs in it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from nas_jax.checkpoint import Checkpoints
from nas_jax.cli.images import AUGMENTATION
from nas_jax.cli.stages.experiment import Experiment
from nas_jax.errors import WorkdirError
from nas_jax.identity import MadeFrom, json_digest
from nas_jax.spaces import Genotype, SpaceMask
from nas_jax.workdir import Workdir

BUDGET_FIELDS = ("channels", "layers", "batch_size", "remat", "dtype", "microbatches")
"""Fields of the search's config that decide the bytes of its step."""


def pruning(experiment: Experiment) -> MadeFrom:
    """Of prune.json and prune.jsonl."""
    config = experiment.config
    search = dataclasses.asdict(config.search)
    return MadeFrom(
        {
            **_common(experiment),
            "mask": mask_digest(experiment.start),
            "config": {
                "prune": dataclasses.asdict(config.prune),
                "search": {
                    name: search[name] for name in BUDGET_FIELDS if config.prune.budget
                },
            },
        }
    )


def searching(experiment: Experiment, mask: SpaceMask) -> MadeFrom:
    """Of genotype.json, search.jsonl and the checkpoints of the search."""
    return MadeFrom(
        {
            **_common(experiment),
            "mask": mask_digest(mask),
            "config": {
                "data": _augmentation(experiment),
                "search": dataclasses.asdict(experiment.config.search),
            },
        }
    )


def retraining(experiment: Experiment, genotype: Genotype) -> MadeFrom:
    """Of retrain.json, retrain.jsonl, summary.json and the checkpoints."""
    return MadeFrom(
        {
            **_common(experiment),
            "genotype": str(genotype.canonical()),
            "config": {
                "data": _augmentation(experiment),
                "retrain": dataclasses.asdict(experiment.config.retrain),
            },
        }
    )


def measuring(experiment: Experiment, mask: SpaceMask) -> MadeFrom:
    """Of memory.json: the search before and after pruning."""
    inputs = searching(experiment, mask).inputs
    return MadeFrom({**inputs, "start": mask_digest(experiment.start)})


def mask_digest(mask: SpaceMask) -> str:
    """SHA-256 of a mask's space and of the operations that it keeps."""
    return json_digest(mask.to_dict())


def search_checkpoints(experiment: Experiment, mask: SpaceMask) -> Checkpoints:
    """The checkpoints of the search."""
    folder = experiment.workdir.path("checkpoints/search")
    return Checkpoints(folder, made_from=searching(experiment, mask))


def retrain_checkpoints(experiment: Experiment, genotype: Genotype) -> Checkpoints:
    """The checkpoints of retraining."""
    folder = experiment.workdir.path("checkpoints/retrain")
    return Checkpoints(folder, made_from=retraining(experiment, genotype))


def pruned_mask(experiment: Experiment) -> SpaceMask | None:
    """The mask of prune.json; None where pruning has not finished.

    Raises:
        WorkdirError: It was made from something else, or edited.
    """
    workdir = experiment.workdir
    artefact = workdir.read_artefact("prune.json", pruning(experiment))
    if artefact is None:
        return None
    path = workdir.path("prune.json")
    mask = SpaceMask.load(experiment.space, path)
    if artefact.get("mask_sha256") != mask_digest(mask):
        raise WorkdirError(
            f"the mask in {path} is not the one that was pruned: it was edited. Copy "
            "it to a file of its own, and give that as --config.space.mask with a new "
            "--workdir"
        )
    return mask


def found_genotype(experiment: Experiment, mask: SpaceMask) -> Genotype | None:
    """The genotype that was searched; None where the search has not finished.

    Raises:
        WorkdirError: It was made from something else.
    """
    artefact = experiment.workdir.read_artefact(
        "genotype.json", searching(experiment, mask)
    )
    if artefact is None:
        return None
    return Genotype.parse(experiment.space, artefact["text"])


def refuse_others(
    experiment: Experiment, *, prunes: bool, genotype: Genotype | None = None
) -> None:
    """Refuses a workdir with anything in it that was made from something else.

    Called before anything is written, with all that is known by then.

    Args:
        experiment: The experiment.
        prunes: Whether this command prunes, if that has not been done.
        genotype: What is retrained, where the user gave it.

    Raises:
        WorkdirError: Names what was made otherwise, what changed, and the remedy.
    """
    workdir = experiment.workdir
    mask = pruned_mask(experiment)
    workdir.refuse_other_rows("prune.jsonl", pruning(experiment))
    if mask is None and prunes:
        _refuse_any(workdir, SEARCHED, "was searched without pruning")
        if genotype is None:
            _refuse_any(workdir, RETRAINED, "is of a genotype that was given")
        return
    mask = mask or experiment.start
    refuse_other_searches(experiment, mask)
    found = found_genotype(experiment, mask)
    if found and genotype and found != genotype:
        raise WorkdirError(
            f"workdir {workdir.root} holds another genotype, {found}, which was "
            f"searched there; give a new --workdir to train {genotype}"
        )
    genotype = genotype or found
    if genotype is None:
        _refuse_any(workdir, RETRAINED, "is of a genotype that was given")
    else:
        refuse_other_trainings(experiment, genotype)


SEARCHED = ("genotype.json", "search.jsonl", "checkpoints/search", "memory.json")
"""What a search leaves behind."""
RETRAINED = ("retrain.json", "retrain.jsonl", "checkpoints/retrain", "summary.json")
"""What retraining leaves behind."""


def refuse_other_searches(experiment: Experiment, mask: SpaceMask) -> None:
    """Refuses what another search left; see `refuse_others`."""
    made, workdir = searching(experiment, mask), experiment.workdir
    workdir.read_artefact("genotype.json", made)
    workdir.read_artefact("memory.json", measuring(experiment, mask))
    search_checkpoints(experiment, mask).refuse_others()
    workdir.refuse_other_rows("search.jsonl", made)


def refuse_other_trainings(experiment: Experiment, genotype: Genotype) -> None:
    """Refuses what another retraining left; see `refuse_others`."""
    made, workdir = retraining(experiment, genotype), experiment.workdir
    for name in ("summary.json", "retrain.json"):
        workdir.read_artefact(name, made)
    retrain_checkpoints(experiment, genotype).refuse_others()
    workdir.refuse_other_rows("retrain.jsonl", made)


def refuse_unfinished_pruning(workdir: Workdir) -> None:
    """Refuses to search on what is left while it is not known what is left.

    Raises:
        WorkdirError: There is prune.jsonl but no prune.json.
    """
    if workdir.has("prune.jsonl") and not workdir.has("prune.json"):
        raise WorkdirError(
            f"pruning in workdir {workdir.root} is not finished: 'nas-jax prune' or "
            "'nas-jax run' with the same flags goes on with it; give a new --workdir "
            "to search the whole space"
        )


def _refuse_any(workdir: Workdir, names: tuple[str, ...], why: str) -> None:
    found = [name for name in names if workdir.has(name)]
    if found:
        raise WorkdirError(
            f"{workdir.path(found[0])} {why}, and this command would put another "
            "beside it; give a new --workdir. Nothing was changed"
        )


def _common(experiment: Experiment) -> dict[str, Any]:
    return {
        "seed": experiment.config.seed,
        "data": experiment.data_digest,
        # Draws of 64-bit numbers are others, and so is all that follows.
        "JAX_ENABLE_X64": bool(jax.config.values["jax_enable_x64"]),
    }


def _augmentation(experiment: Experiment) -> dict[str, Any]:
    data = dataclasses.asdict(experiment.config.data)
    return {name: data[name] for name in AUGMENTATION}
