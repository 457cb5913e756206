"""What each stage is made from, out of the artefacts that are there.

A stage's artefact follows from what its function here returns and from nothing else:
a field that a stage reads belongs in it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax

from nas_jax.errors import WorkdirError
from nas_jax.identity import MadeFrom, json_digest
from nas_jax.networks import functions_of
from nas_jax.oneshot import ALGORITHMS
from nas_jax.plugins import code_digests
from nas_jax.pruning import STRATEGIES
from nas_jax.run.experiment import Experiment, Inputs
from nas_jax.run.images import AUGMENTATION
from nas_jax.run.strategy import get_strategy
from nas_jax.spaces import Genotype, SpaceMask

BUDGET_FIELDS = (
    "algorithm",
    "channels",
    "layers",
    "batch_size",
    "remat",
    "dtype",
    "microbatches",
)
"""Fields of the search's config that decide the bytes of its step."""


def pruning(experiment: Experiment, inputs: Inputs) -> MadeFrom:
    """Of prune.json and prune.jsonl."""
    config = experiment.config
    search = dataclasses.asdict(config.search)
    bytes_of = {name: search[name] for name in BUDGET_FIELDS if config.prune.budget}
    code: list[Any] = [STRATEGIES[config.prune.strategy].make]
    if config.prune.budget:
        code.append(ALGORITHMS[config.search.algorithm].make)
    strategy = get_strategy(config.prune, experiment.space)
    code += [ranker.scored_by.score for ranker in strategy.rankers]
    return _made(
        experiment,
        {"prune": dataclasses.asdict(config.prune), "search": bytes_of},
        code,
        mask=mask_digest(experiment.start),
    )


def searching(experiment: Experiment, inputs: Inputs) -> MadeFrom:
    """Of genotype.json, search.jsonl and the checkpoints of the search."""
    search = dataclasses.asdict(experiment.config.search)
    return _made(
        experiment,
        {"data": _augmentation(experiment), "search": search},
        [ALGORITHMS[experiment.config.search.algorithm].make],
        mask=mask_digest(searched_mask(experiment, inputs)),
    )


def measuring(experiment: Experiment, inputs: Inputs) -> MadeFrom:
    """Of memory.json: the search before and after pruning."""
    searched = searching(experiment, inputs).inputs
    return MadeFrom({**searched, "start": mask_digest(experiment.start)})


def retraining(experiment: Experiment, inputs: Inputs) -> MadeFrom | None:
    """Of retrain.json, retrain.jsonl and the checkpoints."""
    genotype = trained_genotype(experiment, inputs)
    if genotype is None:
        return None
    retrain = dataclasses.asdict(experiment.config.retrain)
    return _made(
        experiment,
        {"data": _augmentation(experiment), "retrain": retrain},
        [],
        genotype=str(genotype.canonical()),
    )


def summarising(experiment: Experiment, inputs: Inputs) -> MadeFrom:
    """Of summary.json: the other artefacts, by their digests."""
    return MadeFrom({name: one.made_from.digest for name, one in inputs.items()})


def searched_mask(experiment: Experiment, inputs: Inputs) -> SpaceMask:
    """What pruning left, or without it all that there was.

    Raises:
        WorkdirError: The mask of prune.json was edited.
    """
    if "prune" not in inputs:
        return experiment.start
    mask = SpaceMask.from_json(experiment.space, json.dumps(inputs["prune"].mask))
    if inputs["prune"].mask_sha256 != mask_digest(mask):
        raise WorkdirError(
            f"the mask in {experiment.workdir.path('prune.json')} is not the one that "
            "was pruned: it was edited. Copy it to a file of its own, and give that as "
            "--config.space.mask with a new --workdir"
        )
    return mask


def trained_genotype(experiment: Experiment, inputs: Inputs) -> Genotype | None:
    """What the user gave, or what was searched; None where there is neither.

    Raises:
        WorkdirError: There are both, and they differ.
    """
    given = experiment.genotype
    if "search" not in inputs:
        return given
    found = Genotype.parse(experiment.space, inputs["search"].text)
    if given is not None and found != given:
        raise WorkdirError(
            f"workdir {experiment.workdir.root} holds another genotype, {found}, which "
            f"was searched there; give a new --workdir to train {given}"
        )
    return given or found


def mask_digest(mask: SpaceMask) -> str:
    """SHA-256 of a mask's space and of the operations that it keeps."""
    return json_digest(mask.to_dict())


def _made(
    experiment: Experiment, config: dict[str, Any], code: list[Any], **content: str
) -> MadeFrom:
    code = [*code, *functions_of(experiment.space)]
    return MadeFrom(
        {
            "seed": experiment.config.seed,
            "data": experiment.data_digest,
            # Draws of 64-bit numbers are others, and so is all that follows.
            "JAX_ENABLE_X64": bool(jax.config.values["jax_enable_x64"]),
            **content,
            # A plugin that changed computes something else under the same names.
            "plugins": code_digests(code),
            "config": config,
        }
    )


def _augmentation(experiment: Experiment) -> dict[str, Any]:
    data = dataclasses.asdict(experiment.config.data)
    return {name: data[name] for name in AUGMENTATION}
