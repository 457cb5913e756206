"""What genotype.json says of itself: how much of it the search decided."""

from __future__ import annotations

from dataclasses import dataclass

from nas_jax.report.fields import Field


@dataclass(frozen=True)
class SearchDecision:
    """How many genes the search decided; `warning` is empty where they are most."""

    decided: int
    genes: int
    text: str
    warning: str


def read_decision(field: Field | None) -> SearchDecision | None:
    """The `decision` of genotype.json; None where there is none."""
    if field is None:
        return None
    return SearchDecision(
        decided=field["decided"].integer(),
        genes=field["genes"].integer(),
        text=field["text"].text(),
        warning=field["warning"].text(),
    )
