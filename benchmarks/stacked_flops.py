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
from nas_jax.networks.operations import CONV_OPS, parameter_shapes
from nas_jax.networks.plan import PlannedOp, plan_supernet
from nas_jax.networks.wave import Wave
from nas_jax.spaces import SpaceMask, darts_space

Params = dict[str, jax.Array]


def _mixture(
    ops: tuple[PlannedOp, ...], params: Params, sources: jax.Array, weights: jax.Array
) -> jax.Array:
    """Sums of a wave's nodes `[T, B, H, W, C]`."""
    states = dict(enumerate(sources))
    sums = Wave(ops, stride=1).apply({}, states, weights, params)
    assert isinstance(sums, dict)
    return jnp.stack(list(sums.values()))


def stacked(params: Params, sources: jax.Array, weights: jax.Array) -> jax.Array:
    """All edges of the wave at once."""
    return jnp.sum(_mixture(_wave(), params, sources, weights) ** 2)


def edge_by_edge(params: Params, sources: jax.Array, weights: jax.Array) -> jax.Array:
    """The same nodes from one edge after the other."""
    nodes: dict[int, jax.Array] = {}
    for row, edge in enumerate(sorted({o.edge for o in _wave()})):
        ops = tuple(o for o in _wave() if o.edge == edge)
        own = {
            name: p[row : row + 1]
            for name, p in params.items()
            if any(name.startswith(f"{o.op}_") for o in ops)
        }
        value = _mixture(ops, own, sources, weights)[0]
        target = ops[0].target
        nodes[target] = nodes[target] + value if target in nodes else value
    return jnp.sum(jnp.stack(list(nodes.values())) ** 2)


def _wave() -> tuple[PlannedOp, ...]:
    return plan_supernet(SpaceMask.full(darts_space()), "normal").waves[0]


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
        shapes = {
            f"{op}_{name}": (8, *shape)
            for op in CONV_OPS
            for name, shape in parameter_shapes(op, 1, channels).items()
        }
        sources = (2, options.batch, size, size, channels)
        arguments: Any = jax.tree.map(
            lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding),
            (shapes, sources, (14, 8)),
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
