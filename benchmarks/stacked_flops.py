"""FLOPs of a cell's parallel edges stacked, over edge by edge, compiled for a TPU.

    python -m benchmarks.stacked_flops --target=tpu-v5e

A wave of a cell stacks the convolutions of its parallel edges. Where a compiler turns a
stacked convolution into one over all channels of all edges, it computes products that
nobody asks for; this program says whether it does. It compiles the forward and the
backward pass of the first wave of a normal cell of the DARTS space (8 edges), once as
`nas_jax` runs it and once as 8 waves of one edge, and compares the compiler's counts.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.memory import child_environment, find_target, target_sharding
from nas_jax.networks import Layers
from nas_jax.networks.engines.plan import CellPlan, PlannedOp, plan_supernet
from nas_jax.networks.engines.waves import run_waves
from nas_jax.spaces import SpaceMask, darts_space

Params = dict[str, dict[str, jax.Array]]


def _plan(*edges: int) -> CellPlan:
    """The first wave of a normal cell, or some of its edges."""
    ops: tuple[PlannedOp, ...] = _WHOLE.waves[0]
    ops = tuple(o for o in ops if not edges or o.edge in edges)
    nodes = tuple(sorted({o.target for o in ops}))
    return CellPlan(_WHOLE.num_inputs, nodes, (ops,), nodes)


_WHOLE = plan_supernet(SpaceMask.full(darts_space()), "normal")


def _mixture(
    plan: CellPlan, params: Params, sources: jax.Array, weights: jax.Array
) -> jax.Array:
    """A wave's nodes side by side."""
    return run_waves(plan, [*sources], weights, params, Layers(), mixed=True)


def stacked(params: Params, sources: jax.Array, weights: jax.Array) -> jax.Array:
    """All edges of the wave at once."""
    return jnp.sum(_mixture(_plan(), params, sources, weights) ** 2)


def edge_by_edge(params: Params, sources: jax.Array, weights: jax.Array) -> jax.Array:
    """The same nodes from one edge after the other."""
    nodes: dict[int, jax.Array] = {}
    for row, edge in enumerate(sorted({o.edge for o in _plan().ops})):
        plan = _plan(edge)
        own = jax.tree.map(lambda p, row=row: p[row : row + 1], params)
        value = _mixture(plan, own, sources, weights)
        (target,) = plan.nodes
        nodes[target] = nodes[target] + value if target in nodes else value
    return jnp.sum(jnp.stack(list(nodes.values())) ** 2)


def _shapes(channels: int) -> dict[str, dict[str, tuple[int, ...]]]:
    specs = _plan().specs(channels, affine=False)
    return {op: {n: spec.shape for n, spec in own.items()} for op, own in specs.items()}


def main() -> None:
    """Compiles both and prints one line of JSON for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="tpu-v5e", help="see nas-jax memory")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    target = find_target(options.target)
    os.environ.update(child_environment(target))
    sharding = target_sharding(target)
    for channels, size in ((16, 32), (32, 16), (64, 8)):
        sources = (2, options.batch, size, size, channels)
        arguments: Any = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding),
            (_shapes(channels), sources, (14, 8)),
            is_leaf=lambda x: isinstance(x, tuple) and isinstance(x[0], int),
        )
        flops = {}
        for form in (stacked, edge_by_edge):
            gradient = jax.jit(jax.grad(form, argnums=(0, 1, 2)))
            cost: Any = gradient.lower(*arguments).compile().cost_analysis()
            flops[form.__name__] = cost["flops"]
        ratio = flops["stacked"] / flops["edge_by_edge"]
        row = {"target": target.name, "batch": options.batch, "channels": channels}
        print(json.dumps({**row, "image_size": size, **flops, "ratio": ratio}))


if __name__ == "__main__":
    main()
