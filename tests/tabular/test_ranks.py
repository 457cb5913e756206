"""What statistics of ranks refuse; their values are in test_correlation.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas_jax.errors import DataError
from nas_jax.tabular.ranks import kendall_tau_b, spearman_rho


@pytest.mark.parametrize("statistic_of", [spearman_rho, kendall_tau_b])
def test_ranks_of_what_are_no_pairs_of_numbers(statistic_of: Any) -> None:
    for x in (np.arange(4.0), np.ones((3, 1))):
        with pytest.raises(DataError, match="they must be .n., the same n"):
            statistic_of(x, np.arange(3.0))
    for value in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or infinite numbers"):
            statistic_of(np.arange(3.0), np.array([0, value, 1]))
