"""Counts and scores of NAS-Bench-201's networks against NASLib's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.data import load_npz, normalize
from nas_jax.proxies import Batch
from nas_jax.scoring import ScoredArchitectures, Scorer
from nas_jax.spaces import Genotype, nasbench201_space
from nas_jax.spaces.nasbench201 import operations_of
from nas_jax.tabular import Table, load_table, spearman

NUM = 300
STAGES = ((32 * 32, 16), (16 * 16, 32), (8 * 8, 64))
"""Pixels and channels of the published stages, of 5 cells each."""


@pytest.fixture(scope="module")
def family() -> ScoredArchitectures:
    return ScoredArchitectures(nasbench201_space())


def published(shared_data: Path, name: str) -> Table:
    return load_table(shared_data / "nb201" / name, failed=-1e8)


def some(table: Table) -> list[str]:
    rows = np.random.default_rng(0).choice(len(table), NUM, replace=False)
    return [table.architectures[i] for i in rows]


def macs_of(family: Any, names: Sequence[str]) -> np.ndarray:
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
    genotype = Genotype.parse(nasbench201_space(), name)
    each = sum(extra.get(op, 0) for op in operations_of(genotype))
    elements = sum(5 * pixels * channels for pixels, channels in STAGES)
    return macs + each * elements


def test_naslibs_flops_are_ours_by_its_rule(family: Any, shared_data: Path) -> None:
    table = published(shared_data, "nb201_naslib_proxies_cifar10.csv.gz")
    names = some(table)
    macs = macs_of(family, names)
    ours = [by_naslibs_rule(n, float(m)) for n, m in zip(names, macs, strict=True)]
    more = table.column("flops", names) - np.array(ours) / 1e6
    # What all networks share: normalisations and pools. Ours counts ten biases.
    shared = 0.11168e6 + 3 * 32 * 32 * 16 - 10
    # The file has seven digits: four behind the point from 100 million on.
    np.testing.assert_allclose(more, shared / 1e6, atol=6e-5)


@pytest.mark.slow
def test_scores_rank_as_naslibs_do(family: Any, shared_data: Path) -> None:
    # Other images, initial weights and batches: NASLib with itself reaches .9998 and
    # .991 over 447 architectures.
    images = load_npz(shared_data / "cifar10_subset" / "cifar10_subset.npz")
    pixels = normalize(jnp.asarray(images.x_train[:64]), images.mean, images.std)
    batch = Batch(pixels, jnp.asarray(images.y_train[:64]))
    table = published(shared_data, "nb201_naslib_proxies_cifar10.csv.gz")
    names = some(table)[:64]
    scorer = Scorer(family.scored, ("synflow", "nwot"))
    scores = scorer(
        family.init(jax.random.key(0), (32, 32, 3)),
        batch,
        jax.random.key(1),
        family.encode([Genotype.parse(family.space, name) for name in names]),
    )
    for column, (name, least) in enumerate({"synflow": 0.99, "nwot": 0.97}.items()):
        theirs = table.column(name, names)
        found = spearman(scores[:, column], theirs, samples=1)
        assert found.value >= least, name
