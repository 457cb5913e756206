"""Scores that are no scores: why, and never a number that ranks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

NAN = "not a number: 0 / 0 or the like, for example a gradient that is constant"
OVERFLOW = "infinite: beyond the range of its dtype, or a division by 0"
UNDERFLOW = (
    "minus infinity: the logarithm of 0, as where no path leads from the images to "
    "what is measured, or where two images are alike to the network"
)


def failures(scores: ArrayLike) -> list[str | None]:
    """Why each score is none, or None where it is one.

    NASLib replaces failed scores by -1e8, which then ranks: last where higher is
    better, first where lower is.

    Args:
        scores: `[N]` float, of one proxy.
    """
    return [_reason(float(score)) for score in np.asarray(scores).reshape(-1)]


def _reason(score: float) -> str | None:
    if np.isnan(score):
        return NAN
    if np.isinf(score):
        return OVERFLOW if score > 0 else UNDERFLOW
    return None
