"""The operations of a cell: what each computes and which parameters it has.

Shapes: K stacked edges, B batch, H and W image, C channels. An operation on one state
is the stack of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax

from nas_jax.networks.depthwise import depthwise_conv
from nas_jax.networks.layers import Norm, halve, normalize, pointwise_conv
from nas_jax.networks.plan import SKIP
from nas_jax.networks.pools import avg_pool, max_pool


@dataclasses.dataclass(frozen=True)
class ConvOp:
    """A depthwise-separable convolution: ReLU, depthwise, 1x1, norm; `twice` or once.

    DARTS' `SepConv` and `DilConv` (cnn/operations.py).
    """

    kernel: int
    dilation: int
    twice: bool

    @property
    def stages(self) -> tuple[int, ...]:
        """Numbers of its stages; the last of every convolution is 1."""
        return (0, 1) if self.twice else (1,)


CONV_OPS = {
    "sep_conv_3x3": ConvOp(3, 1, True),
    "sep_conv_5x5": ConvOp(5, 1, True),
    "dil_conv_3x3": ConvOp(3, 2, False),
    "dil_conv_5x5": ConvOp(5, 2, False),
}
POOL_OPS: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "max_pool_3x3": max_pool,
    "avg_pool_3x3": avg_pool,
}
NETWORK_OPS = ("none", SKIP, *POOL_OPS, *CONV_OPS)
"""Every operation that a network can compute."""


def parameter_shapes(op: str, stride: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of one operation, by name."""
    if op in CONV_OPS:
        conv = CONV_OPS[op]
        shapes: dict[str, tuple[int, ...]] = {}
        for stage in conv.stages:
            shapes[f"depthwise_{stage}"] = (conv.kernel, conv.kernel, channels)
            shapes[f"pointwise_{stage}"] = (channels, channels)
        return shapes
    if op == SKIP and stride == 2:
        half = channels // 2
        return {
            "pointwise_even": (channels, half),
            "pointwise_odd": (channels, channels - half),
        }
    return {}


def operate(
    op: str, stride: int, norm: Norm, x: jax.Array, params: Mapping[str, jax.Array]
) -> jax.Array:
    """One operation of a supernet, normalised without parameters.

    DARTS' `OPS` (cnn/operations.py).

    Args:
        op: Name of the operation, other than `none`.
        stride: 1 or 2.
        norm: What batch normalisation does.
        x: `[K, B, H, W, C]`.
        params: Its parameters by name, stacked along K (see `parameter_shapes`).

    Returns:
        `[K, B, ceil(H / stride), ceil(W / stride), C]`, of x's dtype.
    """
    if op in POOL_OPS:
        return normalize(POOL_OPS[op](x, stride), norm)
    if op == SKIP:
        if stride == 1:
            return x
        x = nn.relu(x)
        halved = halve(x, params["pointwise_even"], params["pointwise_odd"])
        return normalize(halved, norm)
    conv = CONV_OPS[op]
    for stage in conv.stages:
        x = depthwise_conv(
            nn.relu(x),
            params[f"depthwise_{stage}"],
            stride=stride if stage == conv.stages[0] else 1,
            dilation=conv.dilation,
        )
        x = normalize(pointwise_conv(x, params[f"pointwise_{stage}"]), norm)
    return x
