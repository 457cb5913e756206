"""What a finished search says about its own genotype, in numbers and in words."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from nas_jax import oneshot
from nas_jax.artefacts import SearchDecision
from nas_jax.config import SearchConfig
from nas_jax.spaces import SpaceMask


def decided(
    result: oneshot.SearchResult, mask: SpaceMask, log: Path, config: SearchConfig
) -> SearchDecision:
    """The `decision` of genotype.json: that of `oneshot.decision`, in words too.

    It is read from the log, so that a resumed search says what a whole one says.

    Args:
        result: What the search found.
        mask: The operations that it searched.
        log: search.jsonl, with the weights on the way.
        config: Its configuration.

    Returns:
        The figures in words too; with a warning where half of the genes or more could
        as well have come out otherwise.
    """
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    last = int(result.state.step)
    history = {0: result.initial, **{row["step"]: row["alphas"] for row in rows}}
    history[last] = result.probabilities
    found = oneshot.decision(mask, sorted(history.items()))
    text, warning = _text(found), ""
    if found.is_noise:
        warning = _warning(found, last, config)
    elif found.genes:
        text += (
            " What other initial weights of the network would choose is not part of "
            "this; another --config.seed shows it."
        )
    return SearchDecision(**dataclasses.asdict(found), text=text, warning=warning)


def _text(found: oneshot.Decision) -> str:
    if not found.genes:
        return "The mask left the search nothing to decide."
    return (
        f"{found.decided} of {found.genes} genes won by more than chance gives: the "
        f"alphas moved by {found.moved:.2g}, where the noise of the batches alone "
        f"moves them by {found.walk:.2g} and that of their start is {found.noise:.2g}; "
        f"the largest weight of an edge is {found.largest:.3f} on average, "
        f"{found.even:.3f} would be even."
    )


def _warning(found: oneshot.Decision, steps: int, config: SearchConfig) -> str:
    remedy = (
        f"Search for more than these {steps} steps: raise --config.search.epochs "
        f"({config.epochs}) or lower --config.search.batch_size ({config.batch_size})"
    )
    if found.walk < found.noise:
        # Beyond that it takes the noise of the batches as far as all the rest.
        remedy += (
            ", or raise --config.search.alpha_learning_rate "
            f"({config.alpha_learning_rate:g})"
        )
    return (
        "The genotype is little more than a draw: another seed may give another. "
        f"{_text(found)} {remedy}."
    )
