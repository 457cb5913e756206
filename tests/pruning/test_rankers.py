from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, ScoredNetwork, get_proxy
from nas_jax.pruning import (
    Ranker,
    RankerScores,
    SupernetSize,
    Target,
    leave_one_out,
    prune,
    zero_one_shot,
)
from nas_jax.pruning.candidates import removable
from nas_jax.pruning.rankers import with_norm
from nas_jax.spaces import SpaceMask, darts_space

MASK = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
KEEP_ONE = {(cell, edge): 1 for cell in ("normal", "reduce") for edge in (0, 1)}
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
BATCH = Batch(jnp.asarray(IMAGES), jnp.array([0, 1, 0, 1]))
SIZE = SupernetSize(2, 1)
# Nine candidates, which four at once do not divide.
LIVE = leave_one_out(MASK, removable(MASK, KEEP_ONE)[-8:])


def batches(number: int, size: int) -> Batch:
    return Batch(BATCH.images[:size] + number, BATCH.labels[:size])


def scorer(
    *names: str, chunk: int = 9, at_once: int = 4, mask: SpaceMask = MASK
) -> RankerScores:
    rankers = [Ranker(name, SIZE, 4) for name in names]
    return RankerScores(rankers, mask, 2, chunk=chunk, at_once=at_once)


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


def test_rounds_and_repeats_share_the_programs(traces: list[str]) -> None:
    traces.clear()
    # Two rounds of different size, each in two repeats, in chunks of one size.
    wide = darts_space(1, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
    result = prune(
        SpaceMask.full(wide),
        zero_one_shot(SIZE, proxies=NAMES, batch_size=4, repeats=2, rounds=2),
        batches,
        key=jax.random.key(0),
        num_classes=2,
        target=Target(keep=1),
    )
    assert (result.rounds, result.candidates) == (2, 2 * (1 + 12) + 2 * (1 + 8))
    # Each is traced once, however many chunks there are.
    assert sorted(traces) == sorted(NAMES)


def test_other_candidates_and_batches_share_the_programs(traces: list[str]) -> None:
    scores_of = scorer(*NAMES)
    assert (scores_of.compile_seconds, scores_of.peak_bytes) == (0.0, 0)
    scores = scores_of(jax.random.key(0), batches, 0, LIVE)
    assert scores.shape == (9, 3) and scores.dtype == np.float64
    assert scores_of.peak_bytes > 0
    seconds, traced = scores_of.compile_seconds, len(traces)
    assert seconds > 0
    # A later round: another mask, another batch, other weights.
    pruned = MASK.drop([("reduce", 0, "sep_conv_3x3")])
    live = leave_one_out(pruned, removable(MASK, KEEP_ONE)[:8])
    again = scores_of(jax.random.key(1), batches, 1, live)
    assert not np.array_equal(again, scores)
    assert (scores_of.compile_seconds, len(traces)) == (seconds, traced)


def test_columns_are_in_the_order_of_the_rankers(traces: list[str]) -> None:
    names = ("params", "third")
    first, swapped = (
        scorer(*order)(jax.random.key(0), batches, 0, LIVE)
        for order in (names, names[::-1])
    )
    assert not np.allclose(first[:, 0], first[:, 1])
    np.testing.assert_array_equal(swapped, first[:, ::-1])


def test_candidates_at_once_do_not_change_the_scores() -> None:
    one, four = (
        scorer("nwot", "synflow", at_once=n)(jax.random.key(0), batches, 0, LIVE)
        for n in (1, 4)
    )
    np.testing.assert_allclose(one, four, rtol=1e-4)
    # The candidates differ, so that a shuffled order would show.
    assert len(np.unique(one[:, 1].round(3))) >= 5


def test_every_proxy_draws_from_its_own_key(register: Callable[..., None]) -> None:
    def draw(network: ScoredNetwork, batch: Batch, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key)

    for name in ("draw_a", "draw_b"):
        register(name, draw)
    both = scorer("draw_a", "draw_b")
    scores = both(jax.random.key(0), batches, 0, LIVE)
    # One draw for all candidates, which differ in nothing else.
    assert (scores == scores[0]).all()
    assert scores[0, 0] != scores[0, 1]
    np.testing.assert_array_equal(both(jax.random.key(0), batches, 0, LIVE), scores)
    assert (both(jax.random.key(1), batches, 0, LIVE) != scores).all()
    # Whatever other proxies there are, and in whatever order.
    alone = scorer("params", "draw_b")(jax.random.key(0), batches, 0, LIVE)
    np.testing.assert_array_equal(alone[:, 1], scores[:, 1])


def test_rankers_have_batches_and_networks_of_their_own(
    register: Callable[..., None],
) -> None:
    register("images", lambda network, batch, key: 1.0 * len(batch.images))
    rankers = [
        Ranker("images", SIZE, 3),
        Ranker("params", SIZE, 4),
        Ranker("params", SupernetSize(4, 1), 4),
    ]
    scores_of = RankerScores(rankers, MASK, 2, chunk=9, at_once=1)
    scores = scores_of(jax.random.key(0), batches, 0, LIVE)
    assert (scores[:, 0] == 3).all()
    assert (scores[:, 2] > 2 * scores[:, 1]).all()


def test_a_ranker_may_say_what_normalisation_does() -> None:
    asked: list[str] = []

    def logits(params: Any, images: jax.Array, *, norm: str) -> jax.Array:
        asked.append(norm)
        return images.reshape(len(images), -1) @ params

    network = ScoredNetwork.plain(logits, jnp.ones((64, 2)))
    get_proxy("snip").score(network, BATCH, jax.random.key(0))
    assert set(asked) == {"batch"}
    asked.clear()
    changed = with_norm(network, "running")
    get_proxy("snip").score(changed, BATCH, jax.random.key(0))
    assert set(asked) == {"running"}
    assert changed.observe is None


def test_the_sign_is_the_direction_of_the_proxy() -> None:
    assert Ranker("nwot", SIZE, 4).sign == 1.0
    assert Ranker("ntk_cond", SIZE, 4).sign == -1.0
