"""The trained network of a NAS-Bench-201 architecture."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, GenotypeError
from nas_jax.networks import (
    NasBench201Family,
    NasBench201Network,
    abstract_variables,
    init_variables,
    num_parameters,
)
from nas_jax.networks.observed import Observed
from nas_jax.spaces import NASBENCH201_OPS, Genotype, darts_space, nasbench201_space
from nas_jax.spaces.nasbench201 import genotype_of

NONE, SKIP, CONV1, CONV3, POOL = NASBENCH201_OPS
ARCHITECTURE = (CONV3, SKIP, CONV1, POOL, NONE, CONV3)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 2)), jnp.float32)
NETWORK = NasBench201Network(genotype_of(ARCHITECTURE), 2, 2, 3)


@pytest.fixture(scope="module")
def variables() -> Any:
    abstract = abstract_variables(NETWORK, IMAGES, train=True)
    return init_variables(jax.random.key(0), abstract)


def test_parameter_counts_of_the_benchmark(shared_data: Path) -> None:
    path = shared_data / "nb201" / "nb201_cifar10.csv.gz"
    if not path.is_file():
        pytest.skip("needs nb201_cifar10.csv.gz in the shared data folder")
    with gzip.open(path, "rt", newline="") as file:
        rows = [*csv.DictReader(file)][::1601]
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    for row in rows:
        genotype = Genotype.parse(nasbench201_space(), row["arch_str"])
        shapes = abstract_variables(NasBench201Network(genotype), images, train=True)
        assert num_parameters(shapes) == round(1e6 * float(row["params_m"]))
    assert len({row["params_m"] for row in rows}) > 5


def test_training_mode_equals_the_family(variables: Any) -> None:
    """The family's network of the architecture, given the same weights."""
    family = NasBench201Family(2, 2, 3)
    operations = jnp.array([NASBENCH201_OPS.index(op) for op in ARCHITECTURE])
    params = variables["params"]
    theirs: dict[str, Any] = {"classifier": params["classifier"]}
    theirs["stem"] = {"kernel": params["stem"]["kernel"], **norm_of(params["stem"], 0)}
    theirs["last_norm"] = {k: v[0] for k, v in params["last_norm"].items()}
    shapes = abstract_variables(family, IMAGES, operations)["params"]
    for stage in range(3):
        if stage:
            block = params[f"reduce_{stage}"]
            theirs[f"reduce_{stage}_shortcut"] = {"kernel": block["kernel"]}
            for part in "ab":
                own = block[part]
                theirs[f"reduce_{stage}_{part}"] = {
                    "kernel": own["kernel"],
                    **norm_of(own, 0),
                }
        cells = params[f"stage_{stage}"]
        assert sorted(cells) == ["edge_0", "edge_2", "edge_5"]
        for op in (CONV1, CONV3):
            name = f"stage_{stage}_{op}"
            full = {k: np.zeros(s.shape, s.dtype) for k, s in shapes[name].items()}
            for edge, chosen in enumerate(ARCHITECTURE):
                if chosen == op:
                    own = cells[f"edge_{edge}"]
                    full["kernel"][:, edge] = own["kernel"]
                    full["scale"][:, edge] = own["norm"]["scale"][:, 0]
                    full["shift"][:, edge] = own["norm"]["shift"][:, 0]
            theirs[name] = full
    expected = family.apply({"params": theirs}, IMAGES, operations)
    assert isinstance(expected, Observed)
    logits, changed = NETWORK.apply(
        variables, IMAGES, train=True, mutable=["batch_stats"]
    )
    assert float(np.std(expected.logits)) > 0.01
    np.testing.assert_allclose(logits, expected.logits, rtol=1e-4, atol=1e-5)

    # Every normalisation moved a tenth of the way from a variance of 1.
    moved = changed["batch_stats"]["stage_0"]["edge_0"]["norm"]["variance"]
    assert moved.shape == (2, 1, 2)
    stacked = next(v for v, _ in expected.variances or [] if v.shape == (12, 2))
    biased = np.asarray(stacked).reshape(2, 6, 2)[:, 0]
    count = 3 * 8 * 8
    unbiased = biased * count / (count - 1)
    np.testing.assert_allclose(moved[:, 0], 0.9 + 0.1 * unbiased, rtol=1e-4)


def norm_of(params: Any, index: int) -> Any:
    return {name: leaf[index] for name, leaf in params["norm"].items()}


def test_evaluation_reads_the_running_statistics(variables: Any) -> None:
    once = NETWORK.apply(variables, IMAGES, train=False)
    # An image's logits do not depend on the others.
    alone = NETWORK.apply(variables, IMAGES[:1], train=False)
    np.testing.assert_allclose(once[:1], alone, rtol=1e-4, atol=1e-6)
    assert not np.allclose(once, NETWORK.apply(variables, IMAGES, train=True))
    stats = jax.tree.map(lambda x: 4 * x, variables["batch_stats"])
    other = NETWORK.apply({**variables, "batch_stats": stats}, IMAGES, train=False)
    assert not np.allclose(once, other)


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match="6x8 .* multiples of 4"):
        abstract_variables(NETWORK, jnp.zeros((1, 6, 8, 2)), train=True)
    pairs = "('skip_connect', 0), ('skip_connect', 1)"
    darts = Genotype.parse(
        darts_space(1), f"Genotype(normal=[{pairs}], reduce=[{pairs}])"
    )
    with pytest.raises(GenotypeError, match="no architecture of 'nasbench201'"):
        abstract_variables(NasBench201Network(darts), IMAGES, train=True)
