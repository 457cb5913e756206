"""One operation out of several, chosen by data."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero


def choose(branches: Sequence[Callable[..., Any]], index: jax.Array, *args: Any) -> Any:
    """`branches[index](*args)`, of which nothing but the arguments is stored.

    The derivative computes the chosen branch again: autodiff of `lax.switch` would
    store what every branch would keep, and fill it with zeros for those not chosen. It
    is a switch too, so it can be derived again, in reverse mode. Cotangents that nobody
    asks for are not computed, nor those of results that nobody reads.

    Args:
        branches: Functions of the same arguments with results of the same shapes.
        index: Which one, int32 scalar, may be traced.
        *args: Trees of arrays, floating or None.
    """
    return _choose(tuple(branches), index, *args)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _choose(
    branches: tuple[Callable[..., Any], ...], index: jax.Array, *args: Any
) -> Any:
    return lax.switch(index, branches, *args)


def _choose_fwd(branches, index, *args):  # type: ignore[no-untyped-def]
    leaves, tree = jax.tree.flatten(args, is_leaf=is_primal)
    values = [leaf.value for leaf in leaves]
    wanted = tuple(leaf.perturbed for leaf in leaves)
    result = _choose(branches, index.value, *jax.tree.unflatten(tree, values))
    return result, (index.value, values, Static((tree, wanted)))


def _choose_bwd(branches, saved, result_bar):  # type: ignore[no-untyped-def]
    index, values, static = saved
    tree, wanted = static.value
    bars = jax.tree.leaves(result_bar)
    read = [not isinstance(bar, SymbolicZero) for bar in bars]

    def back(branch, bars, values):  # type: ignore[no-untyped-def]
        def part(moved):  # type: ignore[no-untyped-def]
            args = jax.tree.unflatten(tree, _fill(values, wanted, moved))
            return _pick(jax.tree.leaves(branch(*args)), read)

        return jax.vjp(part, _pick(values, wanted))[1](bars)[0]

    backs = [functools.partial(back, branch) for branch in branches]
    found = _choose(tuple(backs), index, _pick(bars, read), values)
    return None, *jax.tree.unflatten(tree, _fill([None] * len(wanted), wanted, found))


_choose.defvjp(_choose_fwd, _choose_bwd, symbolic_zeros=True)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Static:
    """A value that rides along with saved arrays without being one."""

    value: Any


def is_primal(value: Any) -> bool:
    """Whether a leaf is an argument as a rule with symbolic zeros gets it."""
    return isinstance(value, CustomVJPPrimal)


def _pick(values: Sequence[Any], which: Sequence[bool]) -> list[Any]:
    return [value for value, chosen in zip(values, which, strict=True) if chosen]


def _fill(
    values: Sequence[Any], which: Sequence[bool], new: Sequence[Any]
) -> list[Any]:
    """The values with new ones where they are chosen."""
    rest = iter(new)
    return [
        next(rest) if chosen else value
        for value, chosen in zip(values, which, strict=True)
    ]
