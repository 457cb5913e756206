"""Whether artefacts that stand side by side were made from one another.

Every artefact says what it was made from, and every row of a log the digest of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nas_jax.artefacts import Artefact
from nas_jax.errors import NasJaxError, WorkdirError
from nas_jax.report.formats import plural
from nas_jax.report.logs import Origin
from nas_jax.spaces import Genotype, get_mask

_STAGES = {
    "prune": "prune.json",
    "search": "genotype.json",
    "memory": "memory.json",
    "retrain": "retrain.json",
}
"""Artefacts by stage: its log has their digest, and summary.json is made of it."""


def check(
    artefacts: Mapping[str, Artefact],
    logs: Mapping[str, Origin],
    images: str,
    config: Mapping[str, Any],
) -> list[str]:
    """Refuses artefacts that do not belong together.

    Args:
      artefacts: those that there are, by file name.
      logs: by file name.
      images: SHA-256 of the images in environment.json; empty without one.
      config: config.json; empty without one.

    Returns:
      Sentences on what was left out and on what could not be checked.

    Raises:
      WorkdirError: names the artefacts and what contradicts.
    """
    made = {name: one.made_from for name, one in artefacts.items() if one.made_from}
    digests = {stage: made[f].digest for stage, f in _STAGES.items() if f in made}

    def inputs(key: str, *files: str) -> dict[str, Any]:
        return {f: made[f].inputs.get(key) for f in files if f in made}

    for stage, file in _STAGES.items():
        name = f"{stage}.jsonl"
        if name in logs:
            _check_log(name, logs[name], file, digests.get(stage))
        _check_equal(
            "digests", {file: digests.get(stage), **inputs(stage, "summary.json")}
        )
    _check_equal(
        "images", {**inputs("data", *_STAGES.values()), "environment.json": images}
    )
    pruned = getattr(artefacts.get("prune.json"), "mask_sha256", None)
    searched = inputs("mask", "genotype.json", "memory.json")
    _check_equal("masks", {"prune.json": pruned, **searched})
    starts = {**inputs("mask", "prune.json"), **inputs("start", "memory.json")}
    _check_equal("masks to start from", starts)
    return [
        *_left_out(artefacts, logs),
        *_retrained_another(artefacts, config.get("space")),
    ]


def _check_log(name: str, log: Origin, result: str, digest: str | None) -> None:
    recorded = log.digests - {""}
    if len(recorded) > 1:
        raise WorkdirError(
            f"{name} has rows of {len(recorded)} makings, from other images, masks, "
            "genotypes or settings; run again in a new --workdir"
        )
    if recorded and digest and {digest} != recorded:
        raise WorkdirError(
            f"{name} and {result} do not belong together: their digests differ; "
            "run again in a new --workdir"
        )


def _check_equal(what: str, found: Mapping[str, Any]) -> None:
    """Raises WorkdirError where two artefacts record different things."""
    known = {name: value for name, value in found.items() if value}
    for name, value in known.items():
        first = next(iter(known))
        if value != known[first]:
            raise WorkdirError(
                f"{first} and {name} do not belong together: their {what} differ; run "
                "again in a new --workdir"
            )


def _left_out(
    artefacts: Mapping[str, Artefact], logs: Mapping[str, Origin]
) -> Iterator[str]:
    for name, log in logs.items():
        if log.damaged:
            yield f"{plural(log.damaged, 'damaged row')} of {name} left out"
    bare = [name for name, one in artefacts.items() if not one.made_from]
    bare += [name for name, log in logs.items() if "" in log.digests]
    if bare:
        yield (
            "this folder does not record what its artefacts were made from "
            f"({', '.join(bare)}), so whether they belong together is not known"
        )


def _retrained_another(artefacts: Mapping[str, Artefact], config: Any) -> Iterator[str]:
    """Says that a genotype was trained which the user gave, not the one searched."""
    found: Any = artefacts.get("genotype.json")
    trained: Any = artefacts.get("retrain.json")
    if found is None or trained is None:
        return
    texts = found.text, trained.genotype
    try:
        space = get_mask(config["name"], config.get("num_nodes", 4)).space
        one, other = (Genotype.parse(space, text) for text in texts)
        same = one == other
    # Without a known space, only the texts can be compared.
    except (KeyError, TypeError, NasJaxError):
        same = texts[0] == texts[1]
    if not same:
        yield "the network that was retrained is another than genotype.json has"
