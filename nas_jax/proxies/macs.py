"""Multiply-accumulates of any function, counted in its jaxpr: nothing is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from nas_jax.errors import ConfigError

UNCOUNTABLE = ("while", "pallas_call")
"""Loops whose number of steps is not in the program."""


def count_macs(function: Callable[..., Any], *args: Any) -> int:
    """Multiply-accumulates of the convolutions and matrix products of a function.

    A product with padding counts, as in the usual tables; elementwise operations,
    normalisation, pools and depthwise convolutions written as sums of shifted images
    do not.

    Args:
        function: Any traceable function.
        *args: Its arguments, or their shapes and dtypes.

    Raises:
        ConfigError: If the count depends on data: convolutions or products in a loop
            of unknown length, or in branches that differ.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _dot_macs(equation)
    if name == "conv_general_dilated":
        return _conv_macs(equation)
    inner = [_count(jaxpr) for jaxpr in _inner_jaxprs(equation)]
    if not any(inner):
        return 0
    if name in UNCOUNTABLE:
        raise ConfigError(
            f"the network computes convolutions or matrix products in a {name!r}, "
            "whose number of steps is unknown; write the loop with jax.lax.scan, or "
            "give ScoredNetwork a macs function"
        )
    if name == "scan":
        return int(equation.params["length"]) * sum(inner)
    if name == "cond":
        # Branches by platform compute the same, not always by counted operations.
        if equation.params.get("branches_platforms") is None and len(set(inner)) > 1:
            raise ConfigError(
                f"the branches of a cond or switch take {sorted(set(inner))} "
                "multiply-accumulates, so their number depends on data; give "
                "ScoredNetwork a macs function"
            )
        return max(inner)
    return sum(inner)


def _dot_macs(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    depth = math.prod(left[axis] for axis in contracted)
    return math.prod(equation.outvars[0].aval.shape) * depth


def _conv_macs(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    out_channels = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    per_output = math.prod(kernel) // out_channels
    return math.prod(equation.outvars[0].aval.shape) * per_output


def _inner_jaxprs(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            part = getattr(part, "jaxpr", part)  # a closed jaxpr holds the open one
            if hasattr(part, "eqns"):
                yield part
