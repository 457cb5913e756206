"""`nas-jax retrain`: train a genotype from scratch and measure its accuracy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from nas_jax.cli import experiment

HELP = "Train a genotype from scratch and measure its accuracy (retrain.json)."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return experiment.main(_stage, argv, HELP, _define_flags)


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "genotype",
        "",
        "A genotype, as text or as the path of a file with it; DARTS' notation or "
        "JSON. Without it, genotype.json of the workdir.",
        flag_values=values,
    )


def _stage(run: Any, interrupt: Any, call: Any) -> None:
    from nas_jax.cli import stages
    from nas_jax.spaces import Genotype

    text = call.flags["genotype"].value
    if text:
        # A genotype's text is longer than any file name may be.
        is_file = len(text) < 250 and Path(text).is_file()
        genotype = Genotype.parse(
            run.space, Path(text).read_text() if is_file else text
        )
    else:
        stored = run.workdir.read_json("genotype.json")
        genotype = Genotype.parse(run.space, stored["text"])
    result = {**stages.retrain(run, genotype, interrupt), "genotype": str(genotype)}
    run.workdir.write_json("retrain.json", result)
    print(f"test accuracy {result['test_accuracy']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
