"""Arrays that are not what a proxy takes them for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas_jax.errors import ConfigError, DataError
from nas_jax.proxies import (
    Batch,
    ScoredNetwork,
    cross_entropy,
    get_proxy,
    hamming_kernel,
    list_proxies,
    rank_sum,
)
from nas_jax.proxies.jacobian import per_class_score

KEY = jax.random.key(0)
LABELLED = [name for name in list_proxies() if get_proxy(name).needs_labels]
# Six images, three classes.
WRONG = [
    (np.array([0, 1, 2, 0, 1, 3]), "from 0 to 3, but the network has 3 classes"),
    (np.array([0, 1, 2, 0, 1, -1]), "from -1 to 2"),
    (np.array([0, 1, 2, 0, 1]), r"shape \(5,\) for 6 images"),
    (np.eye(3)[[0, 1, 2, 0, 1, 0]], r"shape \(6, 3\) .*argmax"),
    (np.array([0.0, 1, 2, 0, 1, 0]), "dtype float"),
]


@pytest.mark.parametrize("name", LABELLED)
def test_labels_that_are_no_classes(name: str, tiny: Any) -> None:
    network, images = tiny.network(tiny.params(0)), tiny.batch().images
    for labels, said in WRONG:
        with pytest.raises(DataError, match=said):
            batch = Batch(images, jnp.asarray(labels))
            jax.eval_shape(lambda b=batch: get_proxy(name).score(network, b, KEY))


def test_labels_of_formulas() -> None:
    for labels, said in WRONG:
        with pytest.raises(DataError, match=said):
            cross_entropy(jnp.zeros((6, 3)), jnp.asarray(labels))
        with pytest.raises(DataError, match=said):
            per_class_score(jnp.ones((6, 6)), jnp.asarray(labels), 3)


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({"w": jnp.array([0.5, 1.0])}, r"live\['w'\] holds 0.5"),
        ({"w": jnp.ones(3)}, r"live\['w'\] has shape \(3,\)"),
        ({"v": jnp.ones(2)}, "live is the tree"),
        ({"w": jnp.full(2, jnp.nan)}, r"live\['w'\] holds nan"),
    ],
)
def test_live_that_is_none(live: Any, said: str) -> None:
    params = {"w": jnp.ones((2, 4, 3))}

    def logits(params: Any, images: Any, *, norm: str) -> Any:
        return images @ params["w"][0]

    with pytest.raises(ConfigError, match=said):
        ScoredNetwork(logits, params, live)
    fine = ScoredNetwork(logits, params, {"w": jnp.array([0.0, 1.0])})
    assert get_proxy("params").score(fine, Batch(jnp.ones(1), jnp.ones(1)), KEY) == 12


def test_scores_of_several_architectures_are_a_row() -> None:
    with pytest.raises(ConfigError, match=r"scores of snip have shape \(2, 2\)"):
        rank_sum({"snip": np.ones((2, 2)), "nwot": np.ones(4)})


def test_one_count_for_each_stacked_relu() -> None:
    with pytest.raises(ConfigError, match=r"counts have shape \(1,\) for 2"):
        hamming_kernel(jnp.ones((2, 3, 4)), jnp.ones(1))
