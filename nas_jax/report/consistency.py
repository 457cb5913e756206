"""Whether artefacts that stand side by side were made from one another.

Every artefact has `made_from`, `{"digest", "from"}`, and every row of a log the digest.
Where they contradict each other, a page about all of them would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas_jax.errors import NasJaxError, WorkdirError
from nas_jax.report.fields import Field
from nas_jax.report.logs import Origin
from nas_jax.spaces import Genotype, get_mask

_STAGES = ("prune.json", "genotype.json", "memory.json", "retrain.json", "summary.json")
_RESULTS = {
    "search.jsonl": ("genotype.json",),
    "retrain.jsonl": ("retrain.json", "summary.json"),
}
"""What a stage writes at its end, by its log; it has the digest of the log's rows."""
_SUMMARISED = {
    "prune": "prune.json",
    "search": "genotype.json",
    "memory": "memory.json",
}
"""Artefacts whose digests summary.json has in `stages`."""


def check(roots: Mapping[str, Field | None], logs: Mapping[str, Origin]) -> list[str]:
    """Refuses artefacts that do not belong together.

    Args:
      roots: JSON artefacts by file name; None for a missing one.
      logs: What logs tell beside their numbers, by file name.

    Returns:
      Sentences on damaged rows that were left out, on artefacts that do not record what
      they were made from, so that this could not be checked, and on a network that was
      retrained but not searched.

    Raises:
      WorkdirError: names the artefacts and what contradicts.
    """
    values = {name: root.value for name, root in roots.items() if root is not None}
    for name, log in logs.items():
        _check_log(name, log, values)
    inputs = {name: _inputs(values.get(name)) for name in _STAGES}
    environment = _object(_object(values.get("environment.json")).get("data"))
    images = {name: inputs[name].get("data") for name in _STAGES}
    images["environment.json"] = environment.get("sha256")
    _check_equal("images", images)
    pruned = _object(values.get("prune.json")).get("mask_sha256")
    masks = {
        name: inputs[name].get("mask") for name in ("genotype.json", "memory.json")
    }
    _check_equal("masks", {"prune.json": pruned, **masks})
    starts = {"prune.json": "mask", "memory.json": "start"}
    _check_equal(
        "masks to start from",
        {name: inputs[name].get(key) for name, key in starts.items()},
    )
    genotypes = {name: inputs[name].get("genotype") for name in _STAGES[-2:]}
    _check_equal("genotypes", genotypes)
    stages = _object(_object(values.get("summary.json")).get("stages"))
    for stage, name in _SUMMARISED.items():
        digest = _made_from(values.get(name)).get("digest")
        _check_equal("digests", {name: digest, "summary.json": stages.get(stage)})
    trained = [text for text in genotypes.values() if isinstance(text, str)]
    return [
        *_damages(logs),
        *_unrecorded(values, logs),
        *_retrained_another(values, trained[:1]),
    ]


def _check_log(name: str, log: Origin, values: Mapping[str, Any]) -> None:
    recorded = log.digests - {""}
    if len(recorded) > 1:
        raise WorkdirError(
            f"{name} has rows of {len(recorded)} makings, from other images, masks, "
            "genotypes or settings; run again in a new --workdir"
        )
    for result in _RESULTS[name]:
        digest = _made_from(values.get(result)).get("digest")
        if recorded and isinstance(digest, str) and {digest} != recorded:
            raise WorkdirError(
                f"{name} and {result} do not belong together: their digests differ; "
                "run again in a new --workdir"
            )


def _check_equal(what: str, found: Mapping[str, Any]) -> None:
    """Raises WorkdirError where two artefacts record different things."""
    known = {name: value for name, value in found.items() if isinstance(value, str)}
    for name, value in known.items():
        first = next(iter(known))
        if value != known[first]:
            raise WorkdirError(
                f"{first} and {name} do not belong together: their {what} differ; run "
                "again in a new --workdir"
            )


def _damages(logs: Mapping[str, Origin]) -> Iterator[str]:
    for name, log in logs.items():
        if log.damaged:
            rows = (
                "1 damaged row" if log.damaged == 1 else f"{log.damaged} damaged rows"
            )
            yield f"{rows} of {name} left out"


def _unrecorded(values: Mapping[str, Any], logs: Mapping[str, Origin]) -> Iterator[str]:
    bare = [
        name
        for name in _STAGES
        if name in values
        and not isinstance(_made_from(values[name]).get("digest"), str)
    ]
    bare += [name for name, log in logs.items() if "" in log.digests]
    if bare:
        yield (
            "this folder does not record what its artefacts were made from "
            f"({', '.join(bare)}), so whether they belong together is not known"
        )


def _retrained_another(
    values: Mapping[str, Any], trained: Sequence[str]
) -> Iterator[str]:
    """Says that a genotype was trained which the user gave, not the one searched."""
    found = _object(values.get("genotype.json")).get("text")
    space = _object(_object(values.get("config.json")).get("space"))
    if not isinstance(found, str):
        return
    for text in trained:
        try:
            start = get_mask(space["name"], space.get("num_nodes", 4))
            one, other = (Genotype.parse(start.space, t) for t in (found, text))
            same = one == other
        # Without a known space, only the texts can be compared.
        except (KeyError, TypeError, NasJaxError):
            same = found == text
        if not same:
            yield "the network that was retrained is another than genotype.json has"


def _made_from(value: Any) -> dict[str, Any]:
    return _object(_object(value).get("made_from"))


def _inputs(value: Any) -> dict[str, Any]:
    return _object(_made_from(value).get("from"))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
