"""RobustDARTS' small spaces S1 to S4 (Zela et al. 2020, arXiv 1909.09656, section 3).

Parts of the DARTS space in which its search fails; 46,080 squared genotypes each. The
operations are those of automl/RobustDARTS, src/spaces.py.
"""

from __future__ import annotations

import functools

from nas_jax.errors import MaskError
from nas_jax.spaces.darts import darts_space
from nas_jax.spaces.mask import SpaceMask
from nas_jax.spaces.registry import register_space

NOISE = "noise"
"""The operation that replaces every value of its input by a draw from N(0, 1).

It has no parameters, passes no gradient to its input and draws anew in each call, in
evaluation too. With a stride of 2 it has the shape of every second row and column
(automl/RobustDARTS, src/operations.py, `NoiseOp(stride, 0., 1.)`).
"""

_S1 = {
    "normal": (
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "dil_conv_3x3"),
        ("dil_conv_3x3", "dil_conv_5x5"),
        ("dil_conv_3x3", "dil_conv_5x5"),
    ),
    "reduce": (
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "dil_conv_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
    ),
}
_EVERY_EDGE = {
    "s2": ("skip_connect", "sep_conv_3x3"),
    "s3": ("none", "skip_connect", "sep_conv_3x3"),
}
_S4_OPS = (NOISE, "sep_conv_3x3")

ROBUST_DARTS = ("s1", "s2", "s3", "s4")
"""Names of the spaces."""


def robust_darts(name: str) -> SpaceMask:
    """The operations of S1, S2, S3 or S4.

    S1 has two operations on each edge, S2 a skip connection and a separable
    convolution, S3 these and `none`: masks of the DARTS space. S4 has noise and a
    separable convolution. Noise is no operation of DARTS, so S4 is the whole of a
    space of its own.

    Args:
        name: One of ROBUST_DARTS.

    Raises:
        MaskError: If there is none; lists the names.
    """
    if name == "s4":
        return SpaceMask.full(darts_space(ops=_S4_OPS))
    space = darts_space()
    if name == "s1":
        return SpaceMask(space, tuple(_S1[cell.name] for cell in space.cells))
    if name in _EVERY_EDGE:
        ops = _EVERY_EDGE[name]
        return SpaceMask(space, tuple((ops,) * len(c.edges) for c in space.cells))
    raise MaskError(
        f"RobustDARTS has no space {name!r}; allowed: {', '.join(ROBUST_DARTS)}"
    )


for _name, _title in (
    ("s1", "two operations on each edge of DARTS' cells, other ones on each"),
    ("s2", "DARTS with skip_connect and sep_conv_3x3 alone"),
    ("s3", "DARTS with none, skip_connect and sep_conv_3x3 alone"),
    ("s4", "DARTS' cells with noise and sep_conv_3x3 alone"),
):
    register_space(
        _name,
        functools.partial(robust_darts, _name),
        title=_title,
        reference="Zela et al. 2020, arXiv 1909.09656",
    )
