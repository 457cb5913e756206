"""What a search says of its genotype, from its result and its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.config import SearchConfig
from nas_jax.oneshot import SearchResult, SearchState
from nas_jax.run.decided import decided
from nas_jax.spaces import SpaceMask, discretise, nasbench201_space

MASK = SpaceMask.full(nasbench201_space())
SHAPE = (6, 5)


def say(
    folder: Path, ends: np.ndarray, rows: int, mask: SpaceMask = MASK
) -> dict[str, Any]:
    """The decision of alphas that went straight to their end, a row every 10 steps."""
    rng = np.random.default_rng(0)
    noise = 1e-3 * rng.normal(size=SHAPE)
    live = mask.arrays()["cell"]

    def weights(row: int) -> dict[str, np.ndarray]:
        powers = np.where(live, np.exp(noise + row / rows * ends), 0)
        return {"cell": powers / powers.sum(axis=1, keepdims=True)}

    log = folder / "search.jsonl"
    lines = [
        json.dumps(
            {"step": 10 * row, "alphas": {"cell": weights(row)["cell"].tolist()}}
        )
        for row in range(1, rows + 1)
    ]
    log.write_text("\n".join(lines) + "\n")
    last = weights(rows)
    state = SearchState({}, {}, (), (), jnp.int32(10 * rows))
    result = SearchResult(discretise(mask, last), last, state, weights(0))
    return vars(decided(result, mask, log, SearchConfig(epochs=7, batch_size=9)))


def test_a_search_that_decided_is_told_so_without_a_warning(tmp_path) -> None:
    ends = np.tile([0.0, 0.5, 1.0, 2.0, 0.1], (6, 1))
    found = say(tmp_path, ends, rows=10)
    assert (found["genes"], found["decided"], found["warning"]) == (6, 6, "")
    assert found["text"].startswith("6 of 6 genes won by more than chance gives")
    assert f"{found['even']:.3f} would be even" in found["text"]
    assert "another --config.seed shows it" in found["text"]
    assert found["even"] == pytest.approx(1 / 5)


def test_a_search_that_moved_nothing_is_warned_of(tmp_path) -> None:
    found = say(tmp_path, np.zeros(SHAPE), rows=3)
    assert (found["genes"], found["moved"]) == (6, 0)
    assert found["decided"] < 3
    for part in (
        found["text"],
        "little more than a draw",
        "these 30 steps",
        "--config.search.epochs (7)",
        "--config.search.batch_size (9)",
        "--config.search.alpha_learning_rate (0.0003)",
    ):
        assert part in found["warning"]
    assert "\n" not in found["warning"]


def test_a_larger_learning_rate_is_no_remedy_against_the_batches(tmp_path) -> None:
    # One row: nothing tells a direction from the noise of the batches.
    found = say(tmp_path, np.random.default_rng(1).normal(size=SHAPE), rows=1)
    assert found["decided"] < 3
    assert found["walk"] > 100 * found["noise"]
    assert "--config.search.epochs" in found["warning"]
    assert "alpha_learning_rate" not in found["warning"]


def test_nothing_to_decide_is_no_warning(tmp_path) -> None:
    one = MASK.drop(o for o in MASK.space.operations() if o[2] != "skip_connect")
    found = say(tmp_path, np.ones(SHAPE), rows=2, mask=one)
    assert (found["genes"], found["warning"]) == (0, "")
    assert found["text"] == "The mask left the search nothing to decide."
