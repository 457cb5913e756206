"""The stages of an experiment: each reads and writes artefacts of one workdir.

A stage has a module here that computes it, and a command of the same name in
`nas_jax.cli` that parses flags and calls it. `making.py` says what each is made from.
"""

from nas_jax.cli.stages.experiment import Experiment, load_data
from nas_jax.cli.stages.making import (
    pruned_mask,
    refuse_others,
    refuse_unfinished_pruning,
)
from nas_jax.cli.stages.memory import memory
from nas_jax.cli.stages.prune import prune
from nas_jax.cli.stages.retrain import retrain, write_result
from nas_jax.cli.stages.search import algorithm, search, search_step
from nas_jax.cli.stages.summary import summarise

__all__ = [
    "Experiment",
    "algorithm",
    "load_data",
    "memory",
    "prune",
    "pruned_mask",
    "refuse_others",
    "refuse_unfinished_pruning",
    "retrain",
    "search",
    "search_step",
    "summarise",
    "write_result",
]
