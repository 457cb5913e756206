"""Rank correlation of a score with an accuracy, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nas_jax.errors import ConfigError, DataError
from nas_jax.tabular.ranks import Statistic, kendall_tau_b, spearman_rho

_BATCH = 16
"""Bootstrap samples at a time: their weights for 15,625 rows stay in the cache."""
FEWEST = 4
"""Rows that an interval needs. The normal approximation has the standard error
1 / sqrt(n - 3) (Fisher 1921). The bootstrap has none with fewer either: of three rows,
three in four samples where the statistic is defined hold two rows, whose correlation is
1 or -1 whatever the data."""
_NO_WIDTH = 1e-9
"""An interval that is narrower has no width but for rounding."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its confidence interval.

    Attributes:
      value: from -1 to 1; NaN where it is undefined, that is where fewer than two rows
        are used or one side has a single value.
      low: lower end of the interval; NaN where `lacks_interval` says why there is none.
      used: rows that count.
      failed: rows left out because one of their two numbers is NaN or infinite.
    """

    value: float
    low: float
    high: float
    level: float
    used: int
    failed: int

    @property
    def lacks_interval(self) -> str:
        """Why there is no interval, in two words; empty where there is one.

        `no spread`: all bootstrap samples have the same correlation, as where the rows
        are ranked alike, so they do not tell how sure it is.
        """
        if np.isfinite(self.low):
            return ""
        if not np.isfinite(self.value):
            return "undefined"
        return "too few" if self.used < FEWEST else "no spread"


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Correlation:
    """Spearman's rho with average ranks for ties (Spearman 1904).

    Args:
      x: scores `[n]`; NaN and infinite ones have failed and are left out.
      y: accuracies `[n]`.
      samples: of the bootstrap; the same seed gives the same samples of rows.
      level: confidence of the percentile interval (Efron 1979).

    Raises:
      ConfigError: `samples` or `level` is out of range.
      DataError: x and y are not two lists of numbers of the same length.
    """
    return _correlate(spearman_rho, x, y, samples, seed, level)


def kendall(
    x: ArrayLike,
    y: ArrayLike,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Correlation:
    """Kendall's tau-b, which corrects for ties (Kendall 1945), in O(n log n).

    Arguments and errors are those of `spearman`.
    """
    return _correlate(kendall_tau_b, x, y, samples, seed, level)


def percentile_interval(
    statistic: Statistic, n: int, samples: int, seed: int, level: float
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of n rows (Efron 1979).

    Samples where the statistic is undefined, as with one row drawn n times, are left
    out; NaN if there is no other.
    """
    generator = np.random.default_rng(seed)
    found = []
    for start in range(0, samples, _BATCH):
        batch = min(_BATCH, samples - start)
        drawn = generator.integers(n, size=(batch, n))
        drawn += n * np.arange(batch)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=batch * n).reshape(batch, n)
        found.append(statistic(weights))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _correlate(
    statistic_of: Callable[[np.ndarray, np.ndarray], Statistic],
    x: ArrayLike,
    y: ArrayLike,
    samples: int,
    seed: int,
    level: float,
) -> Correlation:
    if samples < 1:
        raise ConfigError(f"samples is {samples}; it must be at least 1.")
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; it must lie between 0 and 1, as 0.95.")
    xs, ys = _numbers(x, "x"), _numbers(y, "y")
    if len(xs) != len(ys):
        raise DataError(
            f"x has {len(xs)} numbers and y has {len(ys)}. Give one of each for every "
            "architecture."
        )
    usable = np.isfinite(xs) & np.isfinite(ys)
    used = int(usable.sum())
    value = low = high = np.nan
    if used > 1:
        statistic = statistic_of(xs[usable], ys[usable])
        value = float(statistic(np.ones((1, used), np.int64))[0])
    if np.isfinite(value) and used >= FEWEST:
        low, high = percentile_interval(statistic, used, samples, seed, level)
        if not high - low > _NO_WIDTH:
            low = high = np.nan
    return Correlation(value, low, high, level, used, len(usable) - used)


def _numbers(values: ArrayLike, name: str) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not a list of numbers ({error}).") from error
    if array.ndim != 1:
        raise DataError(
            f"{name} has the shape {array.shape}; give one number for each "
            "architecture."
        )
    return array
