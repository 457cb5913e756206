"""RobustDARTS' small spaces S1 to S4 (Zela et al. 2020, arXiv 1909.09656, section 3).

Parts of the DARTS space in which its search fails; 46,080 squared genotypes each. The
operations are those of automl/RobustDARTS, src/spaces.py.
"""

from __future__ import annotations

import functools

from nas_jax.errors import MaskError
from nas_jax.spaces.darts import darts_space
from nas_jax.spaces.mask import Kept, SpaceMask
from nas_jax.spaces.registry import register_space
from nas_jax.spaces.space import NONE

NOISE = "noise"
"""The operation that replaces every value of its input by a draw from N(0, 1).

It has no parameters, passes no gradient to its input and draws anew in each call, in
evaluation too. With a stride of 2 it has the shape of every second row and column
(automl/RobustDARTS, src/operations.py, `NoiseOp(stride, 0., 1.)`).
"""

_SKIP = "skip_connect"
_SEP = "sep_conv_3x3"
_DIL3 = "dil_conv_3x3"
_DIL5 = "dil_conv_5x5"
_MAX = "max_pool_3x3"
_AVG = "avg_pool_3x3"
# By edge, a line for each node.
_S1: Kept = (
    (
        *((_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_SKIP, _DIL5), (_SKIP, _SEP), (_SKIP, _DIL3)),
        *((_MAX, _SKIP), (_SKIP, _SEP), (_SKIP, _SEP), (_SKIP, _DIL3)),
        *((_SKIP, _SEP), (_MAX, _SKIP), (_SKIP, _DIL3), (_DIL3, _DIL5), (_DIL3, _DIL5)),
    ),
    (
        *((_MAX, _AVG), (_MAX, _DIL3)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _SEP), (_SKIP, _DIL3), (_SKIP, _DIL5)),
        *((_MAX, _AVG), (_MAX, _AVG), (_SKIP, _DIL5), (_SKIP, _DIL5), (_SKIP, _DIL5)),
    ),
)
_EVERY_EDGE = {"s2": (_SKIP, _SEP), "s3": (NONE, _SKIP, _SEP)}

ROBUST_DARTS = ("s1", "s2", "s3", "s4")
"""Names of the spaces."""


def robust_darts(name: str) -> SpaceMask:
    """The operations of S1, S2, S3 or S4.

    S1 has two operations on each edge, S2 a skip connection and a separable
    convolution, S3 these and `none`: masks of the DARTS space. S4 has noise and a
    separable convolution. Noise is no operation of DARTS, so S4 is the whole of a
    space of its own.

    Raises:
        MaskError: There is none of that name.
    """
    if name == "s4":
        return SpaceMask.full(darts_space(ops=(NOISE, _SEP)))
    space = darts_space()
    if name == "s1":
        return SpaceMask(space, _S1)
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
