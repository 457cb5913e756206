"""Published results to compare with, and how well a score ranks them. NumPy only."""

from nas_jax.tabular.correlation import FEWEST, Correlation, kendall, spearman
from nas_jax.tabular.nats import SPLITS, Metrics, NatsBench, NatsRecord, Trial
from nas_jax.tabular.table import Table, load_table

__all__ = [
    "FEWEST",
    "SPLITS",
    "Correlation",
    "Metrics",
    "NatsBench",
    "NatsRecord",
    "Table",
    "Trial",
    "kendall",
    "load_table",
    "spearman",
]
