"""What each pruning strategy did, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas_jax.report.artefacts import Pruning
from nas_jax.report.formats import duration, mebibytes
from nas_jax.report.formats import score as show


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a strategy say.

    Attributes:
        title: The strategy's name in running text.
        score: What a score is and where that is from, in one sentence.
        part: What a proxy's own figure is.
        below_zero: What a negative score says; empty where there is none.
        averaged: What is averaged over repeats.
    """

    title: str
    score: str
    part: str
    below_zero: str
    averaged: str


_CHANGE = "the relative loss when the operation is removed"
_RISE = "the proxies rate the network higher without the operation"

MEANINGS = {
    "zero_one_shot": Meaning(
        "Zero-One-Shot",
        "A score is the sum over the proxies r of the relative loss when that "
        "operation alone is removed from the untrained supernet, "
        "(r(N) − r(N∖e)) / |r(N)| (Rumiantsev and Coates 2025, arXiv 2505.13586, "
        "importance score).",
        _CHANGE,
        _RISE,
        "Losses",
    ),
    "te_nas": Meaning(
        "TE-NAS",
        "A score is the sum of two ranks among all operations of the round, 0 for the "
        "least important: by how much the condition number of the neural tangent "
        "kernel worsens, and how many linear regions are lost, when that operation "
        "alone is removed (Chen et al. 2021, arXiv 2102.11535, algorithm 1).",
        _CHANGE + ", which is what is ranked",
        "",
        "Losses",
    ),
    "ete_nas": Meaning(
        "ETE-NAS",
        "A score is the sum over the proxies of the relative loss when that operation "
        "alone is removed (Rumiantsev and Coates 2023, ETE-NAS, ICASSP).",
        _CHANGE,
        _RISE,
        "Losses",
    ),
    "zero_cost_pt": Meaning(
        "Zero-Cost-PT",
        "A score is the relative loss when that operation alone is removed, edge by "
        "edge in a random order, without what the edges before have lost (Xiang et "
        "al. 2021, arXiv 2106.08554, operation selection).",
        _CHANGE,
        _RISE,
        "Losses",
    ),
    "sampled": Meaning(
        "sampled architectures",
        "A score is the mean rank of random architectures that have the operation, "
        "from −1 for the worst to 1 for the best, summed over the proxies (a measure "
        "of this project, without a published source).",
        "the mean rank of the architectures that have the operation",
        "architectures with the operation are worse than the average",
        "Ranks",
    ),
    "random": Meaning(
        "random control",
        "A score is a random draw, as no network was scored: what any other strategy "
        "has to be better than (a control of this project).",
        "",
        "",
        "Draws",
    ),
}
"""By the name in prune.json."""


def meaning_of(strategy: str) -> Meaning:
    """What the numbers of a strategy say; little is known of one that is not here."""
    return MEANINGS.get(strategy) or Meaning(
        strategy,
        f"A score is what the strategy {strategy} gives an operation.",
        "its own figure",
        "",
        "Scores",
    )


def target(pruning: Pruning) -> str:
    """Where pruning was to stop: `level 0.5`, `4 operations an edge`, `2 GiB on h100`.

    With a budget, also what the search step needs now.
    """
    if pruning.budget is not None:
        budget = pruning.budget
        return (
            f"{_gibibytes(budget.allowed)} on {budget.target}: the search step needs "
            f"{_gibibytes(budget.needed)}"
        )
    if pruning.keep is not None:
        return f"{_count(pruning.keep, 'operation')} an edge"
    assert pruning.level is not None, "the reader asks for one of the three"
    return f"level {show(pruning.level)}"


def course(pruning: Pruning) -> str:
    """The strategy, where it stopped and after what, in one or two sentences."""
    stop = "at " + target(pruning)
    if pruning.budget is not None:
        budget = pruning.budget
        stop = (
            f"when the search step fitted {_gibibytes(budget.allowed)} on "
            f"{budget.target}, of which it needs {_gibibytes(budget.needed)},"
        )
    elif pruning.keep is None:
        stop += ", the share of each edge's operations that goes,"
    rest = ""
    if pruning.min_parametric:
        rest = (
            f" Each node kept {_count(pruning.min_parametric, 'convolution')} or more "
            "on its incoming edges, whatever the scores."
        )
    title = meaning_of(pruning.strategy).title
    return f"Pruning by {title} stopped {stop} {_rounds(pruning)}.{rest}"


def _rounds(pruning: Pruning) -> str:
    if not pruning.rounds:
        return "before anything had to be scored"
    rounds = _count(pruning.rounds, "round")
    if not pruning.candidates:
        return f"after {rounds} without a scored network"
    networks = _count(pruning.candidates, "scored network")
    again = f" in {pruning.repeats} repeats" if pruning.repeats > 1 else ""
    return f"after {rounds} and {networks}{again}"


def effort(pruning: Pruning) -> str:
    """Time and memory."""
    parts = [
        f"{name} {duration(seconds)}"
        for name, seconds in pruning.seconds.items()
        if seconds
    ]
    if pruning.peak_memory_bytes:
        parts.append(f"peak memory {mebibytes(pruning.peak_memory_bytes)}")
    return ", ".join(parts)


def warned(pruning: Pruning) -> str:
    """How many warnings there are; empty for none."""
    return _count(len(pruning.warnings), "warning") if pruning.warnings else ""


def scored_on(pruning: Pruning) -> list[dict[str, Any]]:
    """What was scored on what: rankers of one network, batch and norm share a row."""
    rows: dict[tuple[str, str], list[str]] = {}
    for ranker in pruning.rankers:
        norm = f", {ranker.norm} norm statistics" if ranker.norm else ""
        place = _network(ranker.network), f"{_count(ranker.batch_size, 'image')}{norm}"
        rows.setdefault(place, []).append(ranker.proxy)
    return [
        {"proxies": ", ".join(proxies), "network": network, "batch": batch}
        for (network, batch), proxies in rows.items()
    ]


def _gibibytes(count: float) -> str:
    """Bytes as GiB with as few decimals as it takes, as MiB below one GiB."""
    size = count / 2**30
    if size < 1:
        return mebibytes(count)
    return f"{size:,.2f}".rstrip("0").rstrip(".") + " GiB"


def _network(fields: dict[str, Any]) -> str:
    """The network's kind, which its fields tell, and its size."""
    kind = "supernet" if "layers" in fields else "thin network"
    sizes = [_field(name, value) for name, value in fields.items()]
    return ", ".join([kind, *sizes])


def _field(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, int) and words.endswith("s"):
        return _count(value, words.removesuffix("s"))
    return f"{words} {str(value).replace('_', ' ')}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
