"""A cell: two preprocessed inputs, a loop or waves of operations, their nodes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nas_jax.networks.layers import Norm, Projection, weight
from nas_jax.networks.loop import Schedule, run_loop
from nas_jax.networks.operations import parameter_shapes
from nas_jax.networks.plan import CellPlan, PlannedOp
from nas_jax.networks.sown import is_watched
from nas_jax.networks.wave import Rows, Wave, take_rows

Remat = Literal["none", "op", "wave", "cell"]
"""What is computed again in the backward pass instead of being stored.

With "op" a cell is one loop over its operations (`loop.py`), each of which is computed
again; otherwise a cell runs wave by wave (`wave.py`), and computes again nothing, each
wave, or the whole cell.
"""


class Cell(nn.Module):
    """A cell of a supernet or of a discrete network (DARTS, `Cell`).

    Attributes:
        plan: What to compute.
        channels: Channels C of every state.
        reduction: Whether operations on the cell's inputs have stride 2.
        reduce_first: Whether the first input is twice as large as the second, which
            is so after a reduction cell.
        norm: What batch normalisation does.
        discrete: Whether this is a cell of a discrete network: normalisation has
            parameters and running statistics, and pools are not normalised.
        remat: What the backward pass computes again.
    """

    plan: CellPlan
    channels: int
    reduction: bool
    reduce_first: bool
    norm: Norm = "batch"
    discrete: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(
        self, first: jax.Array, second: jax.Array, weights: jax.Array | None
    ) -> jax.Array:
        """`[B, H, W, C1], [B, H, W, C2] -> [B, H', W', nodes * C]`.

        Args:
            first: Output of the cell before the previous one.
            second: Output of the previous cell.
            weights: Architecture weights `[edges, operations]`, or None for ones.
        """
        norm: dict[str, Any] = {
            "norm": self.norm,
            "affine": self.discrete,
            "tracked": self.discrete,
        }
        # Nothing but states is to be stored: not their rectified copies.
        again = self.remat in ("op", "wave")
        project = nn.remat(Projection) if again else Projection
        shrink = project(self.channels, self.reduce_first, **norm, name="preprocess_0")
        keep = project(self.channels, False, **norm, name="preprocess_1")
        states = {0: shrink(first), 1: keep(second)}
        params = self._parameters(second.dtype)
        if self.is_initializing() and not self.discrete:
            # Only operations with running statistics declare variables of their own.
            states |= self._empty(states)
        # A loop cannot tell what happens in its turns.
        elif self.remat == "op" and not is_watched(self):
            states |= self._loop(states, weights, params)
        else:
            states |= self._waves(states, weights, params, norm)
        return jnp.concatenate([states[s] for s in self.plan.concat], axis=-1)

    def _parameters(self, dtype: jnp.dtype) -> dict[str, jax.Array]:
        """Parameters of the operations: each kind's stacked in the plan's order."""
        params = {}
        for op in dict.fromkeys(o.op for o in self.plan.ops):
            stacked = self.plan.stacked(op, self.reduction)
            stride = 2 if self.reduction else 1
            for name, shape in parameter_shapes(op, stride, self.channels).items():
                shape = (len(stacked), *shape)
                if stacked:
                    params[f"{op}_{name}"] = weight(self, f"{op}_{name}", shape, dtype)
        return params

    def _empty(self, states: Mapping[int, jax.Array]) -> dict[int, jax.Array]:
        """Nodes without any operation's result."""
        batch, height, width, channels = states[0].shape
        step = 2 if self.reduction else 1
        shape = (batch, -(-height // step), -(-width // step), channels)
        nodes = sorted({o.target for o in self.plan.ops})
        return {node: jnp.zeros(shape, states[0].dtype) for node in nodes}

    def _loop(
        self,
        states: Mapping[int, jax.Array],
        weights: jax.Array | None,
        params: Mapping[str, jax.Array],
    ) -> dict[int, jax.Array]:
        """All nodes, by loops over operations of one stride."""
        if weights is None:
            raise ValueError("a cell of a discrete network has no remat='op'")
        plan = self.plan
        inputs = jnp.stack([states[s] for s in range(plan.num_inputs)])
        wide = jnp.promote_types(inputs.dtype, jnp.float32)
        nodes = jnp.stack([*self._empty(states).values()]).astype(wide)
        run = functools.partial(
            self._run, weights=weights, params=params, dtype=inputs.dtype.name
        )
        if self.reduction:
            halving = [o for o in plan.ops if o.source < plan.num_inputs]
            nodes = run(halving, inputs, nodes, (0, plan.num_inputs))
            rest = [o for o in plan.ops if o.source >= plan.num_inputs]
            nodes = run(rest, None, nodes, (plan.num_inputs, plan.num_inputs))
        else:
            both = jnp.concatenate([inputs.astype(nodes.dtype), nodes])
            nodes = run(plan.ops, None, both, (0, 0))[plan.num_inputs :]
        nodes = nodes.astype(inputs.dtype)
        return {plan.num_inputs + i: node for i, node in enumerate(nodes)}

    def _run(
        self,
        ops: Sequence[PlannedOp],
        sources: jax.Array | None,
        nodes: jax.Array,
        first: tuple[int, int],
        *,
        weights: jax.Array,
        params: Mapping[str, jax.Array],
        dtype: str,
    ) -> jax.Array:
        if not ops:
            return nodes
        stride = self.plan.stride(ops[0], self.reduction)
        schedule = Schedule(tuple(ops), stride, *first, self.norm, dtype)
        edges, columns = ([getattr(o, n) for o in ops] for n in ("edge", "column"))
        scale = weights[np.array(edges), np.array(columns)].astype(nodes.dtype)
        own = take_rows(params, self._rows(params, ops))
        return run_loop(schedule, sources, nodes, scale, own)

    def _rows(self, params: Mapping[str, jax.Array], ops: Sequence[PlannedOp]) -> Rows:
        """The rows of each stacked parameter that belong to operations in a row."""
        part = []
        for op in dict.fromkeys(o.op for o in ops):
            stacked = self.plan.stacked(op, self.reduction)
            rows = [i for i, o in enumerate(stacked) if o in ops]
            for name in params:
                if rows and name.startswith(f"{op}_"):
                    part.append((name, rows[0], rows[-1] + 1))
        return tuple(part)

    def _waves(
        self,
        states: Mapping[int, jax.Array],
        weights: jax.Array | None,
        params: Mapping[str, jax.Array],
        norm: Mapping[str, Any],
    ) -> dict[int, jax.Array]:
        """All nodes, wave by wave."""
        states = dict(states)
        sums: dict[int, jax.Array] = {}
        module = nn.remat(Wave) if self.remat in ("op", "wave") else Wave
        for index, ops in enumerate(self.plan.waves):
            stride = 2 if self.reduction and index == 0 else 1
            wave = module(
                ops,
                rows=self._rows(params, ops),
                stride=stride,
                **norm,
                pool_norm=not self.discrete,
                name=f"wave_{index}",
            )
            for target, value in wave(dict(states), weights, params).items():
                sums[target] = sums[target] + value if target in sums else value
            # A node is a source once all its edges are in; a later node may be first.
            states |= {n: sums[n] for n in sums if self._complete(n, index)}
        return states

    def _complete(self, node: int, wave: int) -> bool:
        later = self.plan.waves[wave + 1 :]
        return all(o.target != node for ops in later for o in ops)
