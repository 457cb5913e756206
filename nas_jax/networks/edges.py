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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nas_jax.errors import MaskError
from nas_jax.networks.backbone import places
from nas_jax.networks.plan import plan_supernet
from nas_jax.networks.supernet import Supernet

Tree = dict[str, Any]
Path = tuple[str, ...]


class Slot(NamedTuple):
    """Where one array by edge lies among the stacked parameters.

    Attributes:
        path: Its place by edge.
        stacked: The place of the stacked parameter.
        row: Its row there; None where the parameter is not stacked.
    """

    path: Path
    stacked: Path
    row: int | None


def to_edges(network: Supernet, params: Mapping[str, Any]) -> Tree:
    """The parameters by edge; see the module's docstring.

    Args:
        network: The supernet.
        params: Its parameters, values or gradients.
    """
    tree: Tree = {}
    for slot in _slots(network, params):
        value = _get(params, slot.stacked)
        _set(tree, slot.path, value if slot.row is None else value[slot.row])
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
    whole: dict[Path, jax.Array] = {}
    for slot in _slots(network, params):
        shape = _get(params, slot.stacked).shape[0 if slot.row is None else 1 :]
        try:
            value = jnp.asarray(_get(edges, slot.path))
        except KeyError:
            raise MaskError(
                f"no weights for {'/'.join(slot.path)}; take them from a supernet that "
                "keeps this operation"
            ) from None
        if value.shape != shape:
            raise MaskError(
                f"the weights of {'/'.join(slot.path)} have shape {value.shape}; this "
                f"network needs {shape}"
            )
        if slot.row is None:
            whole[slot.stacked] = value
        else:
            rows.setdefault(slot.stacked, []).append(value)
    tree: Tree = {}
    for path, value in whole.items():
        _set(tree, path, value)
    for path, values in rows.items():
        _set(tree, path, jnp.stack(values))
    return tree


def _slots(network: Supernet, params: Mapping[str, Any]) -> Iterator[Slot]:
    """Every array, stacks in the order of their rows."""
    cells = places(network.channels, network.layers)
    plans = {
        c.name: plan_supernet(network.mask, c.name) for c in network.mask.space.cells
    }
    for path, leaf in jax.tree_util.tree_flatten_with_path(dict(params))[0]:
        stacked = tuple(key.key for key in path)
        head, *rest = stacked
        if head in ("stem", "classifier"):
            # Normalisation works on stacks; the stem's is a stack of one.
            row = 0 if rest[0] == "norm" else None
            yield Slot((head, rest[-1]), stacked, row)
        elif rest[0].startswith("preprocess"):
            yield Slot(stacked, stacked, 0)
        else:
            place = cells[int(head.removeprefix("cell_"))]
            ops = plans[place.name].named(rest[0], place.reduction)
            assert len(ops) == leaf.shape[0]
            for row, o in enumerate(ops):
                name = rest[0].removeprefix(f"{o.op}_")
                yield Slot((head, f"edge_{o.edge}", o.op, name), stacked, row)


def _get(tree: Mapping[str, Any], path: Path) -> Any:
    value: Any = tree
    for name in path:
        value = value[name]
    return value


def _set(tree: Tree, path: Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
