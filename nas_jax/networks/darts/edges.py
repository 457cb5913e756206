"""A supernet's parameters by cell, edge and operation, and back.

A cell stacks the parameters of each kind of operation, so their place depends on the
mask. By edge they have one place whatever is pruned: weights move from an unpruned to a
pruned supernet, or to and from another library, by way of this form:

    stem                     kernel [3, 3, image channels, 3C], scale, shift [3C]
    cell_I/preprocess_P      pointwise [C', C], or pointwise_even and pointwise_odd
                             [C', C / 2] of a factorised reduction
    cell_I/edge_E/OPERATION  depthwise_S [k, k, C] and pointwise_S [C, C] of stage S;
                             pointwise_even and pointwise_odd [C, C / 2] of a
                             skip_connect of stride 2
    classifier               kernel [C, classes], bias [classes]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from nas_jax.errors import MaskError
from nas_jax.networks.darts.stack import places
from nas_jax.networks.darts.supernet import Supernet

Tree = dict[str, Any]
Path = tuple[str, ...]


def to_edges(network: Supernet, params: Mapping[str, Any]) -> Tree:
    """The parameters by edge; see the module's docstring.

    Args:
        network: The supernet.
        params: Its parameters, values or gradients.
    """
    tree: Tree = {}
    for path, stacked, row in _slots(network, params):
        value = _get(params, stacked)
        _set(tree, path, value if row is None else value[row])
    return tree


def from_edges(network: Supernet, params: Mapping[str, Any], edges: Tree) -> Tree:
    """The parameters of a supernet, taken from arrays by edge.

    Operations that the network has not are passed over, so that an unpruned supernet's
    arrays fit every pruned one.

    Args:
        network: The supernet to fill.
        params: Its parameters, values or shapes: the form of the result.
        edges: What `to_edges` returned for this mask or a larger one.

    Raises:
        MaskError: An array is missing or has another shape.
    """
    rows: dict[Path, list[jax.Array]] = {}
    tree: Tree = {}
    for path, stacked, row in _slots(network, params):
        shape = _get(params, stacked).shape[0 if row is None else 1 :]
        try:
            value = jnp.asarray(_get(edges, path))
        except KeyError:
            raise MaskError(
                f"no weights for {'/'.join(path)}; take them from a supernet that "
                "keeps this operation"
            ) from None
        if value.shape != shape:
            raise MaskError(
                f"the weights of {'/'.join(path)} have shape {value.shape}; this "
                f"network needs {shape}"
            )
        if row is None:
            _set(tree, stacked, value)
        else:
            rows.setdefault(stacked, []).append(value)
    for stacked, values in rows.items():
        _set(tree, stacked, jnp.stack(values))
    return tree


def _slots(
    network: Supernet, params: Mapping[str, Any]
) -> Iterator[tuple[Path, Path, int | None]]:
    """Place by edge, place among the parameters, and row there if it is stacked."""
    cells = places(network.channels, network.cells)
    for path, _ in jax.tree_util.tree_flatten_with_path(dict(params))[0]:
        stacked = tuple(key.key for key in path)
        head, name = stacked[0], stacked[-1]
        if not head.startswith("cell_"):
            yield (head, name), stacked, None
            continue
        plan = network.plan(cells[int(head.removeprefix("cell_"))])
        if stacked[1] not in plan.parametric:
            yield stacked, stacked, None
            continue
        for row, o in enumerate(plan.rows(stacked[1])):
            yield (head, f"edge_{o.edge}", o.op, name), stacked, row


def _get(tree: Mapping[str, Any], path: Path) -> Any:
    value: Any = tree
    for name in path:
        value = value[name]
    return value


def _set(tree: Tree, path: Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
