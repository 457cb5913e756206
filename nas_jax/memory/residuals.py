"""What reverse mode keeps of a forward pass, by tracing alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def residual_bytes(loss: Callable[..., Any], params: Any, *rest: Any) -> int:
    """Bytes that the gradient by the parameters keeps from the forward pass.

    They are the leaves of the function that `jax.vjp(loss, params)` returns, which
    `jax.checkpoint` makes fewer. Each array counts once; parameters do not count, for
    they are there anyway. Nothing is compiled or run.

    No bound of a compiled program: a compiler may recompute what is cheap, and needs
    room for gradients and for what a rematerialised part computes again.

    `loss(params, *rest)` is a scalar; shapes do for its arguments.
    """
    import jax

    def pullback(params: Any, *rest: Any) -> Any:
        return jax.vjp(lambda p: loss(p, *rest), params)[1]

    jaxpr = jax.make_jaxpr(pullback)(params, *rest).jaxpr
    parameters = set(jaxpr.invars[: len(jax.tree.leaves(params))])
    # A literal is a number in the program's text; only variables are arrays.
    variables = {v for v in jaxpr.outvars if not hasattr(v, "val")}
    shapes: list[Any] = [v.aval for v in variables - parameters]
    return sum(shape.size * shape.dtype.itemsize for shape in shapes)
