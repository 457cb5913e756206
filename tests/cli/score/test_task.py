"""Which proxies `nas-jax score` takes where none are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import pytest

from nas_jax.cli.score.task import PER_IMAGE, choose_proxies
from nas_jax.errors import ConfigError
from nas_jax.proxies import ScoredNetwork, list_proxies
from nas_jax.scoring import Family, get_family, sample_genotypes

IMAGE = (8, 8, 3)


def chosen(
    family: Family, asked: Sequence[str] | None = None, scored: Any = None
) -> tuple[str, ...]:
    params = family.init(jax.random.key(0), IMAGE)
    codes = family.encode(sample_genotypes(family.space, 2, seed=0))

    class Telling:
        space = family.space

        def scored(self, params: Any, codes: Any) -> ScoredNetwork:
            network = family.scored(params, codes)
            return network if scored is None else scored(network)

    return choose_proxies(Telling(), params, codes, IMAGE, asked)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def nasbench201() -> Family:
    return get_family("nasbench201", channels=2, cells=1)


def test_all_that_suit_the_networks(nasbench201: Family) -> None:
    every = set(list_proxies())
    # A space without separable convolutions has none to count.
    assert set(chosen(nasbench201)) == every - PER_IMAGE - {"sep_convs"}
    darts = get_family("darts", channels=2, cells=2)
    assert set(chosen(darts)) == every - PER_IMAGE


def test_networks_that_tell_less_have_fewer(nasbench201: Family) -> None:
    def silent(network: ScoredNetwork) -> ScoredNetwork:
        return dataclasses.replace(network, observe=None, operations=None)

    names = set(chosen(nasbench201, scored=silent))
    assert {"flops", "params", "synflow", "snip", "nngp_mean"} <= names
    assert not {"nwot", "linear_regions", "fisher", "zen", "nngp_eigen"} & names
    with pytest.raises(ConfigError, match="'nwot' needs relu_inputs.*allowed: .*snip"):
        chosen(nasbench201, ["snip", "nwot"], silent)


def test_what_is_asked_for_is_taken_once(nasbench201: Family) -> None:
    asked = ["ntk_cond", "sep_convs", "params", "ntk_cond"]
    assert chosen(nasbench201, asked) == ("ntk_cond", "sep_convs", "params")
