from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    DerivedNetwork,
    Supernet,
    Variables,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.spaces import CellGenotype, Gene, Genotype, darts_space

SPACE = darts_space(2)
GENES: list[Gene] = [
    ("sep_conv_3x3", 0),
    ("skip_connect", 1),
    ("max_pool_3x3", 2),
    ("dil_conv_3x3", 1),
]
GENOTYPE = Genotype.parse(SPACE, f"Genotype(normal={GENES}, reduce={GENES})")
NETWORK = DerivedNetwork(GENOTYPE, channels=2, layers=3, num_classes=3)
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


@functools.cache
def variables() -> Variables:
    abstract = abstract_variables(NETWORK, jnp.asarray(IMAGES), train=True)
    return init_variables(jax.random.key(0), abstract)


@functools.cache
def train() -> Any:
    apply = functools.partial(NETWORK.apply, train=True, mutable=["batch_stats"])
    return jax.jit(apply)


@functools.cache
def evaluate() -> Any:
    return jax.jit(functools.partial(NETWORK.apply, train=False))


def test_training_updates_all_running_statistics() -> None:
    logits, changed = train()(variables(), IMAGES)
    assert logits.shape == (3, 3)
    assert list(changed) == ["batch_stats"]
    before = variables()["batch_stats"]
    assert jax.tree.map(jnp.shape, changed["batch_stats"]) == jax.tree.map(
        jnp.shape, before
    )
    different = jax.tree.map(
        lambda a, b: not np.allclose(a, b, atol=1e-7), before, changed["batch_stats"]
    )
    assert all(jax.tree.leaves(different))


def test_evaluation_uses_the_running_statistics() -> None:
    _, changed = train()(variables(), IMAGES)
    fresh = evaluate()(variables(), IMAGES)
    later = evaluate()({**variables(), **changed}, IMAGES)
    assert not np.allclose(fresh, later)
    # One image's logits do not depend on the others in the batch.
    other = np.concatenate([IMAGES[:1], IMAGES[1:] * 5 + 1])
    np.testing.assert_allclose(evaluate()(variables(), other)[0], fresh[0], rtol=1e-4)
    trained, _ = train()(variables(), IMAGES)
    mixed, _ = train()(variables(), other)
    assert not np.allclose(trained[0], mixed[0], rtol=1e-2)


def test_running_statistics_converge_to_the_batch() -> None:
    now = variables()
    for _ in range(150):
        _, changed = train()(now, IMAGES)
        now = {**now, **changed}
    trained, _ = train()(now, IMAGES)
    # What is left is the difference of biased and unbiased variance: 12 numbers in
    # the last cell, so up to 12 / 11.
    np.testing.assert_allclose(evaluate()(now, IMAGES), trained, rtol=0.2, atol=0.1)


def test_shapes_of_the_running_statistics() -> None:
    abstract = abstract_variables(NETWORK, jnp.asarray(IMAGES), train=True)
    assert set(abstract) == {"params", "batch_stats"}
    cell = jax.tree.map(lambda leaf: leaf.shape, abstract["batch_stats"]["cell_0"])
    # Wave 0 stacks sep_conv (0, 2) and dil_conv (1, 3); only the first has two stages.
    assert cell == {
        "preprocess_0": {"BatchNorm_0": {"mean": (1, 2), "variance": (1, 2)}},
        "preprocess_1": {"BatchNorm_0": {"mean": (1, 2), "variance": (1, 2)}},
        "wave_0": {
            "norm_0": {"mean": (1, 2), "variance": (1, 2)},
            "norm_1": {"mean": (2, 2), "variance": (2, 2)},
        },
    }
    # A reduction cell halves its identity too, and has twice the channels.
    cell = abstract["batch_stats"]["cell_1"]
    assert cell["wave_0"]["norm_1"]["mean"].shape == (3, 4)
    stem = abstract["batch_stats"]["stem"]["norm"]
    assert stem["mean"].shape == (1, 6)


def test_scale_and_shift_match_the_statistics() -> None:
    leaves = jax.tree_util.tree_flatten_with_path(variables()["batch_stats"])[0]
    for path, leaf in leaves:
        module = variables()["params"]
        for step in path[:-1]:
            module = module[step.key]
        assert module["scale"].shape == module["shift"].shape == leaf.shape


def darts(genes: list[Gene], concat: tuple[int, ...] = (2, 3, 4, 5)) -> Genotype:
    cells = tuple(CellGenotype(n, tuple(genes), concat) for n in ("normal", "reduce"))
    return Genotype(darts_space(), cells)


def test_concat_sets_the_width_of_the_classifier() -> None:
    genes: list[Gene] = [("skip_connect", 0), ("skip_connect", 1)] * 4
    network = DerivedNetwork(darts(genes, (5, 3)), 2, 3, 3)
    abstract = abstract_variables(network, jnp.asarray(IMAGES), train=True)
    # Channels 2 double twice; two states are concatenated.
    assert abstract["params"]["classifier"]["kernel"].shape == (16, 3)


SHALLOW_AFTER_DEEP: list[Gene] = [
    # Node 3 needs node 2, node 4 needs the inputs only, and node 5 needs node 4.
    *(("skip_connect", 0), ("skip_connect", 1)),
    *(("skip_connect", 0), ("sep_conv_3x3", 2)),
    *(("skip_connect", 0), ("skip_connect", 1)),
    *(("sep_conv_3x3", 4), ("skip_connect", 0)),
]


@pytest.mark.parametrize("kind", ["derived", "supernet"])
def test_shallow_node_after_a_deep_one(kind: str) -> None:
    genotype = darts(SHALLOW_AFTER_DEEP)
    images = jnp.asarray(IMAGES)
    if kind == "derived":
        network: Any = DerivedNetwork(genotype, 2, 3, 3)
        abstract_variables(network, images, train=True)
    else:
        network = Supernet(genotype.mask(), 2, 3, 3)
        abstract_variables(network, images, zero_alphas(genotype.space))


def test_a_network_does_not_depend_on_how_its_genotype_is_listed() -> None:
    cells = []
    for cell in GENOTYPE.canonical().cells:
        first, second, *rest = cell.genes
        cells.append(CellGenotype(cell.name, (second, first, *rest), cell.concat[::-1]))
    listed = Genotype(SPACE, tuple(cells))
    assert str(listed) not in (str(GENOTYPE), str(GENOTYPE.canonical()))
    network = DerivedNetwork(listed, channels=2, layers=3, num_classes=3)
    # Equal modules are one entry of a compilation cache: they must compute the same.
    assert network == NETWORK
    abstract = abstract_variables(network, jnp.asarray(IMAGES), train=True)
    assert jax.tree.map(jnp.shape, abstract) == jax.tree.map(jnp.shape, variables())
    logits = jax.jit(lambda v: network.apply(v, IMAGES, train=False))(variables())
    np.testing.assert_array_equal(logits, evaluate()(variables(), IMAGES))
