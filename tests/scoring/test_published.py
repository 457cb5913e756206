"""Counts of NAS-Bench-201's networks against NASLib's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from nas_jax.scoring import Family, get_family
from nas_jax.spaces import Genotype
from nas_jax.spaces.nasbench201 import operations_of
from nas_jax.tabular import Table, load_table

NUM = 300
STAGES = ((32 * 32, 16), (16 * 16, 32), (8 * 8, 64))
"""Pixels and channels of the published stages, of 5 cells each."""


@pytest.fixture(scope="module")
def family() -> Family:
    return get_family("nasbench201")


def published(shared_data: Path, name: str) -> Table:
    return load_table(shared_data / "nb201" / name, failed=-1e8)


def some(table: Table) -> list[str]:
    rows = np.random.default_rng(0).choice(len(table), NUM, replace=False)
    return [table.architectures[i] for i in rows]


def macs_of(family: Family, names: Sequence[str]) -> np.ndarray:
    """Multiply-accumulates of architectures for one image."""
    codes = family.encode([Genotype.parse(family.space, name) for name in names])
    params = family.init(jax.random.key(0), (32, 32, 3))

    def one(codes: dict[str, jax.Array]) -> jax.Array:
        network = family.scored(params, codes)
        assert network.macs is not None
        return network.macs((32, 32, 3))

    return np.asarray(jax.jit(jax.vmap(one))(codes))


def by_naslibs_rule(name: str, macs: float) -> float:
    """MACs, 3 for an element that an edge normalises and 9 for one that it pools."""
    extra = {"nor_conv_1x1": 3, "nor_conv_3x3": 3, "avg_pool_3x3": 9}
    genotype = Genotype.parse(get_family("nasbench201").space, name)
    each = sum(extra.get(op, 0) for op in operations_of(genotype))
    elements = sum(5 * pixels * channels for pixels, channels in STAGES)
    return macs + each * elements


def test_naslibs_flops_are_ours_by_its_rule(family: Family, shared_data: Path) -> None:
    table = published(shared_data, "nb201_naslib_proxies_cifar10.csv.gz")
    names = some(table)
    macs = macs_of(family, names)
    ours = [by_naslibs_rule(n, float(m)) for n, m in zip(names, macs, strict=True)]
    more = table.column("flops", names) - np.array(ours) / 1e6
    # What all networks share: normalisations and pools. Ours counts ten biases.
    shared = 0.11168e6 + 3 * 32 * 32 * 16 - 10
    # The file has seven digits: four behind the point from 100 million on.
    np.testing.assert_allclose(more, shared / 1e6, atol=6e-5)
