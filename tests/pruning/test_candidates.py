from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.networks import (
    Supernet,
    abstract_variables,
    init_variables,
    zero_alphas,
)
from nas_jax.proxies import Batch, ScoredNetwork, get_proxy
from nas_jax.pruning import CandidateScorer, leave_one_out, prune, scored_supernet
from nas_jax.pruning.importance import candidate_operations
from nas_jax.spaces import SpaceMask, darts_space

MASK = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
BATCH = Batch(jnp.asarray(IMAGES), jnp.array([0, 1, 0, 1]))
# Nine candidates, which four at once do not divide.
LIVE = leave_one_out(MASK, candidate_operations(MASK)[-8:])


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each program that is compiled ahead of time."""
    seen: list[str] = []
    compile_ = jax.stages.Lowered.compile

    def count(self: Any, *args: Any, **options: Any) -> Any:
        seen.append("compiled")
        return compile_(self, *args, **options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", count)
    return seen


@pytest.fixture(scope="module")
def traces(register: Callable[..., None]) -> list[str]:
    """Grows when one of three proxies is traced; the third is of another kind."""
    seen: list[str] = []

    def score_of(name: str) -> Any:
        def score(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
            seen.append(name)
            live = jax.tree.leaves(network.live)
            alive = jnp.sum(jnp.stack([jnp.sum(leaf) for leaf in live]))
            return alive + jnp.mean(batch.images)

        return score

    for name in ("first", "second"):
        register(name, score_of(name), needs_gradient=False)
    register("third", score_of("third"), needs_gradient=True)
    return seen


NAMES = ("first", "third", "second")


def test_repeats_share_the_programs(compilations: list[str], traces: list[str]) -> None:
    prune(
        MASK,
        lambda repeat: BATCH,
        key=jax.random.key(0),
        num_classes=2,
        proxies=NAMES,
        channels=2,
        layers=1,
        repeats=4,
    )
    # Two programs: one for the first and the second proxy, one for the third.
    assert len(compilations) == 2
    assert set(traces) == set(NAMES)


def test_other_candidates_and_batches_share_the_programs(
    compilations: list[str], traces: list[str]
) -> None:
    scorer = CandidateScorer(Supernet(MASK, 2, 1, 2), NAMES, (8, 8, 1), 4)
    assert (scorer.compile_seconds, scorer.memory) == (0.0, None)
    scores = scorer(jax.random.key(0), BATCH, LIVE)
    assert scores.shape == (9, 3) and scores.dtype == np.float64
    assert scorer.memory is not None and scorer.memory.peak_bytes > 0
    seconds, traced = scorer.compile_seconds, len(traces)
    assert seconds > 0
    # A later round: another mask, another batch, other weights.
    pruned = MASK.drop([("reduce", 0, "sep_conv_3x3")])
    live = leave_one_out(pruned, candidate_operations(MASK)[:8])
    other = Batch(BATCH.images + 1, BATCH.labels)
    again = scorer(jax.random.key(1), other, live)
    assert not np.array_equal(again, scores)
    assert len(compilations) == 2
    assert (scorer.compile_seconds, len(traces)) == (seconds, traced)


def test_columns_are_in_the_order_of_the_names(traces: list[str]) -> None:
    network = Supernet(MASK, 2, 1, 2)
    names = ("params", "third")
    scorer = CandidateScorer(network, names, (8, 8, 1), 4)
    swapped = CandidateScorer(network, names[::-1], (8, 8, 1), 4)
    scores = scorer(jax.random.key(0), BATCH, LIVE)
    assert not np.allclose(scores[:, 0], scores[:, 1])
    np.testing.assert_array_equal(
        swapped(jax.random.key(0), BATCH, LIVE), scores[:, ::-1]
    )


def test_candidates_at_once_do_not_change_the_scores() -> None:
    network = Supernet(MASK, 2, 1, 2)
    one, four = (
        CandidateScorer(network, ("nwot", "synflow"), (8, 8, 1), at_once)(
            jax.random.key(0), BATCH, LIVE
        )
        for at_once in (1, 4)
    )
    np.testing.assert_allclose(one, four, rtol=1e-4)
    # The candidates differ, so that a shuffled order would show.
    assert len(np.unique(one[:, 1].round(3))) >= 5


def test_every_proxy_draws_from_its_own_key(register: Callable[..., None]) -> None:
    def draw(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key)

    for name in ("draw_a", "draw_b"):
        register(name, draw)
    network = Supernet(MASK, 2, 1, 2)
    scorer = CandidateScorer(network, ("draw_a", "draw_b"), (8, 8, 1), 4)
    scores = scorer(jax.random.key(0), BATCH, LIVE)
    # One draw for all candidates, which differ in nothing else.
    assert (scores == scores[0]).all()
    assert scores[0, 0] != scores[0, 1]
    np.testing.assert_array_equal(scorer(jax.random.key(0), BATCH, LIVE), scores)
    assert (scorer(jax.random.key(1), BATCH, LIVE) != scores).all()
    # Whatever other proxies there are, and in whatever order.
    alone = CandidateScorer(network, ("params", "draw_b"), (8, 8, 1), 4)
    np.testing.assert_array_equal(
        alone(jax.random.key(0), BATCH, LIVE)[:, 1], scores[:, 1]
    )


@pytest.fixture(scope="module")
def candidate() -> ScoredNetwork:
    """A supernet without one of its separable convolutions."""
    network = Supernet(MASK, 4, 1, 3)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    shapes = abstract_variables(network, images, zero_alphas(MASK.space))
    params = init_variables(jax.random.key(0), shapes)["params"]
    live = MASK.drop([("reduce", 0, "sep_conv_3x3")]).arrays()
    return scored_supernet(network, params, live)


@pytest.mark.parametrize("norm", ["batch", "identity"])
def test_what_a_supernet_tells(candidate: ScoredNetwork, norm: Any) -> None:
    assert candidate.observe is not None
    seen = candidate.observe(candidate.params, BATCH.images, norm=norm)
    logits = candidate.logits(candidate.params, BATCH.images, norm=norm)
    np.testing.assert_allclose(seen.logits, logits, rtol=1e-4, atol=1e-5)
    assert seen.feature_map is not None and seen.feature_map.shape == (4, 4, 4, 8)
    assert seen.features is not None
    np.testing.assert_allclose(seen.features, seen.feature_map.mean((1, 2)), rtol=1e-5)
    classifier = candidate.params["classifier"]
    read = seen.features @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(read, seen.logits, rtol=1e-5)
    assert seen.relu_inputs is not None
    # Two of the preprocessing, two of the separable convolution that is left, and one
    # of each of the two skips that halve the image.
    counts = [float(counts.sum()) for _, counts in seen.relu_inputs]
    assert sum(counts) == 2 + 2 + 2
    assert seen.variances is None and seen.channels is None


def test_macs_and_operations_of_a_candidate(candidate: ScoredNetwork) -> None:
    # 8x8 images of one channel, a stem of 12 channels, and one reduction cell of 8:
    # two 1x1 preprocessings at 8x8, then at 4x4 two halving skips (two 1x1 of 8 to 4
    # each) and the one separable convolution left, twice 3x3 and 1x1.
    stem = 8 * 8 * 9 * 1 * 12
    preprocess = 2 * 8 * 8 * 12 * 8
    skips = 2 * 4 * 4 * 2 * 8 * 4
    separable = 4 * 4 * 2 * (9 * 8 + 8 * 8)
    score = get_proxy("flops").score(candidate, BATCH, jax.random.key(0))
    assert score == stem + preprocess + skips + separable + 8 * 3
    # Each cell of the space counts once, a normal one too.
    assert get_proxy("sep_convs").score(candidate, BATCH, jax.random.key(0)) == 3
    assert candidate.operations is not None
    assert candidate.operations["skip_connect"] == 4
