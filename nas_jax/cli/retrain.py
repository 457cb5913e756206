"""`nas-jax retrain`: train a genotype from scratch and measure its accuracy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from nas_jax.cli import stage_command

HELP = "Train a genotype from scratch and measure its accuracy (retrain.json)."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return stage_command.main(
        "retrain", _check, _stage, argv, HELP, _define_flags, _genotype
    )


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "genotype",
        "",
        "A genotype, as text or as the path of a file with it; DARTS' notation or "
        "JSON. Without it, genotype.json of the workdir.",
        flag_values=values,
    )


def _genotype(call: Any, space: Any) -> Any:
    from nas_jax.errors import GenotypeError
    from nas_jax.networks import is_nasbench201
    from nas_jax.paths import local_path
    from nas_jax.spaces import Genotype
    from nas_jax.spaces.nasbench201 import check_connected
    from nas_jax.spaces.text import read_text
    from nas_jax.workdir import Workdir

    text = call.flags["genotype"].value
    if not text:
        text = Workdir(call.workdir).read_json("genotype.json")["text"]
    # A text is no file, whatever its length and characters.
    elif os.path.isfile(local_path(text)):
        text = read_text(text, GenotypeError, "give a text file with a genotype")
    genotype = Genotype.parse(space, text)
    if is_nasbench201(space):
        check_connected(genotype)
    return genotype


def _check(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    genotype = _genotype(call, run.space)
    stages.refuse_others(run, prunes=False, genotype=genotype)


def _stage(run: Any, call: Any) -> None:
    from nas_jax.cli import stages

    genotype = _genotype(call, run.space)
    result = stages.retrain(run, genotype, call.interrupt)
    stages.write_result(run, genotype, result)
    print(f"test accuracy {result['test_accuracy']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
