"""Sets of rankers: a set prunes as the library does with these rankers alone."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks import ranker_masks
from benchmarks import tradeoff_run as run
from nas_jax import data, pruning
from nas_jax.scoring import sample_genotypes
from nas_jax.spaces import Genotype, SpaceMask, darts_space

LEVEL = 0.5


@pytest.fixture(scope="module")
def study() -> run.Study:
    rng = np.random.default_rng(0)
    images: Any = rng.integers(256, size=(24, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(24) % 3
    return run.Study(
        space=darts_space(num_nodes=1),
        images=data.Dataset.from_arrays(images, labels, images[:6], labels[:6]),
        channels=2,
        layers=1,
        batch_size=8,
        steps=0,
        proxies=("params", "l2_norm"),
        repeats=2,
        samples=0,
    )


def test_a_set_prunes_as_its_rankers_do(study: run.Study) -> None:
    parts = ranker_masks.score(study, 3)
    for proxies in (("params",), ("params", "l2_norm")):
        options = dict(proxies=proxies, channels=2, layers=1, batch_size=8, repeats=2)
        alone = pruning.prune(
            SpaceMask.full(study.space),
            pruning.get_strategy("zero_one_shot", study.space, options),
            functools.partial(study.batch, 3),
            key=jax.random.key(3),
            num_classes=3,
            target=pruning.Target(LEVEL),
        )
        assert ranker_masks.mask(study, parts, proxies, LEVEL) == alone.mask


def test_shared_is_the_mean_over_pairs() -> None:
    space = darts_space(num_nodes=1)
    full = SpaceMask.full(space)
    first, *others = list(space.operations())[:3]
    masks = [full.drop([first]), full.drop([first]), full.drop([others[0]])]
    kept = full.num_kept - 1
    # One pair shares all that it keeps, two pairs all but one.
    expected = (1 + 2 * (kept - 1) / kept) / 3
    assert ranker_masks.shared(masks) == pytest.approx(expected)


def test_masks_may_have_nothing_in_common() -> None:
    space = darts_space(num_nodes=1)
    every = list(space.operations())
    ends = [
        SpaceMask.full(space).drop(o for o in every if o[2] != op)
        for op in ("skip_connect", "sep_conv_3x3")
    ]
    assert ranker_masks.shared(ends) == 0.0


def test_effects_find_what_an_operation_adds() -> None:
    space = darts_space(num_nodes=1)
    genotypes = [str(g) for g in sample_genotypes(space, 200, seed=0)]
    good = ("normal", 0, "skip_connect")
    worth = {
        text: 90.0 + Genotype.parse(space, text).mask().keeps(*good)
        for text in genotypes
    }
    found = ranker_masks.effects(space, worth, ridge=1e-6)
    others = [found[o] for o in found if o[:2] == good[:2] and o != good]
    assert all(found[good] - other == pytest.approx(1.0, abs=1e-3) for other in others)
    elsewhere = [found[o] for o in found if o[:2] != good[:2]]
    np.testing.assert_allclose(elsewhere, 0.0, atol=1e-3)


def test_members() -> None:
    assert ranker_masks.members("nwot+params") == ("nwot", "params")
