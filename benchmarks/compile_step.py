"""Traces and compiles one step in a process of its own, and prints the seconds.

`python -m benchmarks.compile_step '{"problem": {...}, "variant": {...}}'` is what
`benchmarks.search_step` starts, with the compilation cache in NAS_JAX_CACHE_DIR.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time

from benchmarks.jax_step import Variant, lower
from benchmarks.problem import Problem
from nas_jax.cli.app import configure_jax
from nas_jax.memory import MemoryUse


def main(request: str) -> None:
    """Prints one line of JSON: seconds and the compiler's figures on memory."""
    fields = json.loads(request)
    problem, variant = Problem(**fields["problem"]), Variant(**fields["variant"])
    configure_jax()
    start = time.perf_counter()
    lowered = lower(problem, variant)
    traced = time.perf_counter()
    compiled = lowered.compile()
    ready = time.perf_counter()
    result = {
        "trace_seconds": traced - start,
        "ready_seconds": ready - start,
        **dataclasses.asdict(MemoryUse.of(compiled)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
