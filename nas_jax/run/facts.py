"""What is known of a genotype in its own space."""

from __future__ import annotations

from nas_jax.networks import is_nasbench201
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import (
    architecture_index,
    check_connected,
    operations_of,
)


def facts(genotype: Genotype) -> dict[str, float]:
    """Facts for genotype.json: where a benchmark lists an architecture of its own."""
    if not is_nasbench201(genotype.space):
        return {}
    return {"nasbench201_index": architecture_index(operations_of(genotype))}


def check_trainable(genotype: Genotype) -> None:
    """Refuses a genotype that no network can have.

    Raises:
        GenotypeError: No path leads from a cell's input to its output.
    """
    if is_nasbench201(genotype.space):
        check_connected(genotype)
