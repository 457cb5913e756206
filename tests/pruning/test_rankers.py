"""Rankers of all kinds in one call: what they share, and what is their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.proxies import Batch, ScoredNetwork, snip
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
from nas_jax.scoring import scored_network
from nas_jax.spaces import SpaceMask, darts_space

MASK = SpaceMask.full(darts_space(1, ("none", "skip_connect", "sep_conv_3x3")))
KEEP_ONE = {(cell, edge): 1 for cell in ("normal", "reduce") for edge in (0, 1)}
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
SIZE = SupernetSize(2, 1)
KEY = jax.random.key(0)
# Nine candidates, which four at once do not divide.
LIVE = leave_one_out(MASK, removable(MASK, KEEP_ONE)[-8:])
NAMES = ("first", "third", "second")


def batches(number: int, size: int) -> Batch:
    return Batch(jnp.asarray(IMAGES[:size]) + number, jnp.arange(size) % 2)


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

    for name in NAMES:
        register(name, score_of(name), needs_gradient=name == "third")
    return seen


def test_rounds_and_repeats_share_the_programs(traces: list[str]) -> None:
    traces.clear()
    # Two rounds of different size, each in two repeats, in chunks of one size.
    wide = darts_space(1, ("none", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"))
    result = prune(
        SpaceMask.full(wide),
        zero_one_shot(SIZE, proxies=NAMES, batch_size=4, repeats=2, rounds=2),
        batches,
        key=KEY,
        num_classes=2,
        target=Target(keep=1),
    )
    assert (result.rounds, result.candidates) == (2, 2 * (1 + 12) + 2 * (1 + 8))
    # Each is traced once, however many chunks there are.
    assert sorted(traces) == sorted(NAMES)


def test_columns_batches_networks_and_keys_are_the_rankers_own(
    register: Callable[..., None],
) -> None:
    for name in ("draw_a", "draw_b"):
        register(name, lambda network, batch, key: jax.random.uniform(key))
    register("images", lambda network, batch, key: 1.0 * len(batch.images))
    rankers = [
        Ranker("draw_a", SIZE, 4),
        Ranker("params", SIZE, 4),
        Ranker("images", SIZE, 3),
        Ranker("params", SupernetSize(4, 1), 4),
        Ranker("draw_b", SIZE, 4),
        Ranker("nwot", SIZE, 4),
    ]
    four = RankerScores(rankers, MASK, 2, chunk=9, at_once=4)
    assert (four.compile_seconds, four.peak_bytes) == (0.0, 0)
    scores = four(KEY, batches, 0, LIVE)
    assert scores.shape == (9, 6) and scores.dtype == np.float64
    seconds = four.compile_seconds
    assert seconds > 0 and four.peak_bytes > 0
    draw_a, params, images, wider, draw_b, nwot = scores.T
    assert (images == 3).all() and (wider > 2 * params).all()
    # One draw for all candidates, which differ in nothing else.
    assert (draw_a == draw_a[0]).all() and (draw_b == draw_b[0]).all()
    assert draw_a[0] != draw_b[0]
    # The candidates differ, so that a shuffled order would show.
    assert len(np.unique(nwot.round(3))) >= 5
    # A later round: another mask, another batch, other weights.
    pruned = MASK.drop([("reduce", 0, "sep_conv_3x3")])
    live = leave_one_out(pruned, removable(MASK, KEEP_ONE)[:8])
    later = four(jax.random.key(1), batches, 1, live)
    assert (later[:, 0] != draw_a).all() and four.compile_seconds == seconds
    # Whatever other proxies there are, and however many candidates at once.
    one = RankerScores(rankers[-1:-3:-1], MASK, 2, chunk=9, at_once=1)
    np.testing.assert_allclose(
        one(KEY, batches, 0, LIVE), np.stack([nwot, draw_b], 1), rtol=1e-4
    )


def test_a_ranker_may_say_what_normalisation_does() -> None:
    asked: list[str] = []

    class Network:
        def logits(self, params: Any, codes: Any, images: Any, norm: str) -> Any:
            asked.append(norm)
            return images.reshape(len(images), -1) @ params

        live = operations = unbuilt = lambda self, *given: jnp.ones(())

    for norm in (None, "running"):
        network: Any = scored_network(Network(), jnp.ones((64, 2)), None, norm=norm)  # type: ignore[arg-type]
        snip(network, batches(0, 4), KEY)
        assert set(asked) == {norm or "batch"}
        asked.clear()


def test_the_sign_is_the_direction_of_the_proxy() -> None:
    assert [Ranker(n, SIZE, 4).sign for n in ("nwot", "ntk_cond")] == [1.0, -1.0]
