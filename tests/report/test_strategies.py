"""Where pruning stopped, what it scored and what its scores mean, in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas_jax.pruning import STRATEGIES
from nas_jax.report.artefacts import Budget, Pruning, read_artefacts
from nas_jax.report.strategies import (
    MEANINGS,
    course,
    effort,
    meaning_of,
    scored_on,
    target,
    warned,
)


@pytest.fixture
def pruned(fake: ModuleType, tmp_path: Path) -> Any:
    """Reads what pruning by a strategy leaves."""

    def read(**settings: Any) -> Pruning:
        fake.fill(tmp_path, steps=2, epochs=1, **settings)
        found = read_artefacts(tmp_path).pruning
        assert found is not None
        return found

    return read


def test_every_strategy_has_its_score_explained_in_one_sentence() -> None:
    assert set(MEANINGS) == set(STRATEGIES)
    sources = {
        "zero_one_shot": "2505.13586",
        "te_nas": "2102.11535",
        "ete_nas": "ICASSP",
        "zero_cost_pt": "2106.08554",
        "sampled": "of this project",
        "random": "of this project",
    }
    for name, source in sources.items():
        sentence = MEANINGS[name].score
        assert source in sentence and sentence.startswith("A score is ")
        assert sentence.endswith(").") and ". " not in sentence.replace("et al. ", "")


def test_a_strategy_that_is_not_known_here_keeps_its_name() -> None:
    assert meaning_of("mine").title == "mine"


def test_stops(pruned: Any) -> None:
    level = pruned()
    assert target(level) == "level 0.5"
    assert course(level) == (
        "Pruning by Zero-One-Shot stopped at level 0.5, the share of each edge's "
        "operations that goes, after 1 round and 591 scored networks in 3 repeats."
    )
    keep = dataclasses.replace(level, keep=1, rounds=2, repeats=1, min_parametric=2)
    assert target(keep) == "1 operation an edge"
    assert course(keep) == (
        "Pruning by Zero-One-Shot stopped at 1 operation an edge after 2 rounds and "
        "591 scored networks. Each node kept 2 convolutions or more on its incoming "
        "edges, whatever the scores."
    )
    # A budget goes before the other two.
    budget = dataclasses.replace(keep, budget=Budget(2 * 2**30, "h100", 2072321679))
    assert target(budget) == "2 GiB on h100: the search step needs 1.93 GiB"
    assert "fitted 2 GiB on h100, of which it needs 1.93 GiB, after" in course(budget)
    small = dataclasses.replace(keep, budget=Budget(512 * 2**20, "a100", 100 * 2**20))
    assert target(small) == "512 MiB on a100: the search step needs 100 MiB"
    at_once = dataclasses.replace(budget, rounds=0, candidates=0)
    assert "1.93 GiB, before anything had to be scored." in course(at_once)


def test_random_draws_score_nothing(pruned: Any) -> None:
    pruning = pruned(strategy="random", keep=4)
    assert course(pruning) == (
        "Pruning by random control stopped at 4 operations an edge after 1 round "
        "without a scored network."
    )
    assert scored_on(pruning) == []
    assert effort(pruning) == "total 0.2 s"


def test_rankers_of_one_network_and_batch_share_a_row(pruned: Any) -> None:
    assert scored_on(pruned()) == [
        {
            "proxies": "nwot, synflow, snip, grad_norm, params",
            "network": "supernet, 8 channels, 3 layers",
            "batch": "32 images",
        }
    ]
    weights = "initialisation kaiming normal fan out"
    assert scored_on(pruned(strategy="ete_nas")) == [
        {
            "proxies": "nngp_frobenius, nngp_mean",
            "network": f"thin network, 1 channel, stem, {weights}",
            "batch": "28 images",
        },
        {
            "proxies": "thin_regions_100",
            "network": f"thin network, 1 channel, no stem, {weights}",
            "batch": "256 images, running norm statistics",
        },
        {
            "proxies": "nwot",
            "network": "supernet, 8 channels, 3 layers",
            "batch": "32 images",
        },
    ]


def test_warnings_are_counted(pruned: Any) -> None:
    assert warned(pruned()) == ""
    assert warned(pruned(warnings=["one"])) == "1 warning"
    assert warned(pruned(warnings=["one", "two"])) == "2 warnings"
